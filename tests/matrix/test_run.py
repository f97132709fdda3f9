"""The command line of `make matrix`, as far as it needs no container."""

import pytest

from tests.matrix import engine, report, run


def test_two_runs_do_not_write_one_report(tmp_path, monkeypatch):
    monkeypatch.setattr(report, "JUNIT", tmp_path / "dist" / "matrix.xml")
    run.alone()
    with pytest.raises(engine.MatrixError, match="another make matrix"):
        run.alone()
