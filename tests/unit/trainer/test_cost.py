import numpy as np
import tensorflow as tf

from serving.contract import InputSpec
from trainer import cost


def test_what_an_export_costs(tmp_path):
    """Calls with one row and with 32 are timed on the signature's own input; size is that of what a server reads."""

    class Model(tf.Module):
        @tf.function(input_signature=[tf.TensorSpec((None, 2), tf.float32, "features")])
        def serve(self, features):
            return {"value": tf.reduce_sum(features, axis=1)}

    model = Model()
    tf.saved_model.save(model, str(tmp_path / "1"), {"serving_default": model.serve})
    spec = InputSpec(name="features", dtype="float32", shape=(2,))
    found = cost.measure(tmp_path / "1", "serving_default", spec, np.ones((3, 2), np.float32))
    names = [f"latency_ms_{rows}{percentile}" for rows in (1, 32) for percentile in ("", "_p95", "_p99")]
    assert set(found) == {*names, "size_bytes"}
    for rows in (1, 32):
        median, p95, p99 = (found[f"latency_ms_{rows}{percentile}"] for percentile in ("", "_p95", "_p99"))
        assert 0 < median <= p95 <= p99
    assert found["size_bytes"] == cost.size(tmp_path / "1") > 0


def test_the_size_leaves_out_what_servers_do_not_read(tmp_path):
    """Samples and the report are beside the model, and no part of it."""
    for name, content in {"saved_model.pb": "12345", "variables/v": "123", "assets.extra/report/r": "1"}.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(content)
    assert cost.size(tmp_path) == 8
