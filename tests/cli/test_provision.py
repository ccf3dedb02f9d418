from pathlib import Path

from typer.testing import CliRunner

from fedgin.cli.main import app
from fedgin.errors import ConfigError
from tests.places import ROOT

SITES = ROOT / "provisioning" / "sites.yaml"


def test_nothing_can_be_renewed_where_each_owner_makes_its_own_certificate(tmp_path: Path) -> None:
    command = ["provision", str(SITES), "--out", str(tmp_path / "out"), "--distributed", "--renew", "hospital-a"]
    done = CliRunner().invoke(app, command)
    assert isinstance(done.exception, ConfigError), done.output
    assert done.exception.problem == "--renew hospital-a: with --distributed each owner makes its own certificate"
    assert not (tmp_path / "out").exists()
    done = CliRunner().invoke(app, command[:-2])
    assert done.exit_code == 0, done.exception
    assert (tmp_path / "out").is_dir()
