"""loadtest.bench.floors"""

import json
from pathlib import Path

from loadtest.bench import floors
from loadtest.bench.load import Figure

CROWD, ALONE = Figure(1000, 0.02), Figure(500, 0.001)


def test_judged() -> None:
    """Rates reach their floors and times stay within their bounds, or are missed; what has neither cannot be."""
    measured = {
        (floors.AIO, "tensor", floors.CROWD): [(Figure(401, 0.05), CROWD)],
        (floors.AIO, "PNG", floors.CROWD): [(Figure(329, 0.05), CROWD)],
        (floors.AIO, "tensor", floors.ALONE): [(Figure(1, 0.0041), ALONE)],
        (floors.ENVOY, "tensor", floors.ALONE): [(Figure(1, 0.0029), ALONE)],
        (floors.ENVOY, "TFS", floors.CROWD): [(Figure(1, 1.0), CROWD)],
    }
    judged = floors.judge(measured)
    assert [one.missed for one in judged] == [False, True, True, False, False]
    text = floors.table(judged, floors.echoes(measured))
    assert text.count("missed") == 2
    assert "0.40" in text


def test_each_beside_its_echo() -> None:
    """A ratio is one round's, and the middle one counts: a machine that is slow for a while is so for both."""
    rounds = [(Figure(800, 0.1), Figure(1000, 0.1)), (Figure(90, 1.0), Figure(100, 1.0)), (Figure(70, 1), CROWD)]
    measured = {(floors.AIO, "tensor", floors.CROWD): rounds}
    (judged,) = floors.judge(measured)
    assert (judged.ratio, judged.figure.rate) == (0.8, 90)
    assert floors.echoes(measured)[floors.CROWD].rate == 1000


def test_written_down(tmp_path: Path) -> None:
    """The same stands in a file for machines, and is drawn."""
    measured = {(floors.ENVOY, "PNG", floors.CROWD): [(Figure(1300, 0.05), CROWD)]}
    judged = floors.judge(measured)
    floors.write(judged, floors.echoes(measured), tmp_path / "bench.json")
    report = json.loads((tmp_path / "bench.json").read_text())
    assert report["echo"][floors.CROWD]["rate"] == 1000
    assert (report["gateway"][0]["ratio"], report["gateway"][0]["missed"]) == (1.3, False)
    floors.plot(judged, tmp_path / "bench.png")
    assert (tmp_path / "bench.png").read_bytes().startswith(b"\x89PNG")
