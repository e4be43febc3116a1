from __future__ import annotations

import subprocess
from pathlib import Path

import pytest
from safetensors.numpy import load_file

from infra.contracts.records import PythonEnvironment
from infra.quantizers.program import saving


def test_metadata_stands_in_one_order(tmp_path: Path) -> None:
    """The library that writes safetensors puts it down in an order of chance."""
    tensor = b'"a":{"dtype":"U8","shape":[3],"data_offsets":[0,3]}'
    orders = [b'"format":"pt","lm_head":"embed"', b'"lm_head":"embed","format":"pt"']
    written = set()
    for order in orders:
        header = (b'{"__metadata__":{' + order + b"}," + tensor + b"}").ljust(112)
        file = tmp_path / "model.safetensors"
        file.write_bytes(len(header).to_bytes(8, "little") + header + b"abc")
        file.chmod(0o600)
        saving.settle(file)
        assert file.stat().st_mode & 0o777 == 0o644  # as the umask has it
        written.add(file.read_bytes())
        assert bytes(load_file(file)["a"]) == b"abc"
    assert len(written) == 1


@pytest.mark.engine
def test_what_is_not_finite_is_refused_by_its_name(
    llmcompressor_environment: PythonEnvironment,
) -> None:
    code = (
        "import sys; sys.path.insert(0, sys.argv[1]); import saving, torch; "
        "model = torch.nn.Linear(2, 2); saving.check_finite(model, 'float16'); "
        "model.bias.data[1] = 1e6; saving.check_finite(model, 'float16'); "
        "saving.check_finite(model.half(), 'float16')"
    )
    done = subprocess.run(
        [llmcompressor_environment.python, "-I", "-c", code, Path(saving.__file__).parent],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    last = done.stderr.splitlines()[-1]
    assert last == "saving.NotFiniteError: bias holds values that float16 cannot hold"
    assert done.returncode == 1
