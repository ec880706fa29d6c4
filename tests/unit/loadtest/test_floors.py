"""loadtest.bench.floors"""

import json
from pathlib import Path

from loadtest.bench import floors
from loadtest.bench.load import Figure

ECHO = {floors.CROWD: Figure(1000, 0.02), floors.ALONE: Figure(500, 0.001)}


def test_judged() -> None:
    """Rates reach their floors and times stay within their bounds, or are missed; what has neither cannot be."""
    judged = floors.judge(
        {
            (floors.AIO, "tensor", floors.CROWD): Figure(401, 0.05),
            (floors.AIO, "PNG", floors.CROWD): Figure(329, 0.05),
            (floors.AIO, "tensor", floors.ALONE): Figure(1, 0.0041),
            (floors.ENVOY, "tensor", floors.ALONE): Figure(1, 0.0029),
            (floors.ENVOY, "TFS", floors.CROWD): Figure(1, 1.0),
        },
        ECHO,
    )
    assert [one.missed for one in judged] == [False, True, True, False, False]
    text = floors.table(judged, ECHO)
    assert text.count("missed") == 2
    assert "0.40" in text


def test_written_down(tmp_path: Path) -> None:
    """The same stands in a file for machines, and is drawn."""
    judged = floors.judge({(floors.ENVOY, "PNG", floors.CROWD): Figure(1300, 0.05)}, ECHO)
    floors.write(judged, ECHO, tmp_path / "bench.json")
    report = json.loads((tmp_path / "bench.json").read_text())
    assert report["echo"][floors.CROWD]["rate"] == 1000
    assert (report["gateway"][0]["ratio"], report["gateway"][0]["missed"]) == (1.3, False)
    floors.plot(judged, tmp_path / "bench.png")
    assert (tmp_path / "bench.png").read_bytes().startswith(b"\x89PNG")
