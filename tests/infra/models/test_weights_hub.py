"""Downloads through the hubs' real clients, from a stub hub that fails on demand."""

from __future__ import annotations

import json
import os
import re
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from infra.contracts.errors import (
    AssayError,
    CorruptWeights,
    GatedRepository,
    HubUnreachable,
    RepositoryNotFound,
    UnsafeWeights,
    WeightsError,
)
from infra.contracts.progress import Silent
from infra.contracts.records import Weights
from infra.contracts.specs import ModelSpec
from infra.models import origin
from infra.models.remote_weights import RemoteSize, remote_size
from infra.models.weights import fetch, fetch_dataset
from infra.store import content
from infra.store.settings import Settings
from tests.infra.models.whole import require_whole
from tests.stub_hub import PASS, Repo, StubHub, model_files, running, safetensors

BRANCH = {"huggingface": "main", "modelscope": "master"}
SECRET = "hf_abcdefghijklmnop"
KEPT = [
    "chat_template.jinja",
    "config.json",
    "model.safetensors",
    "tokenizer.json",
    "tokenizer_config.json",
]


def large(source: str) -> Repo:
    """A model with 24 MB of weights. One client writes them down in pieces of 10 MiB."""
    return Repo(model_files(24_000_000), branch=BRANCH[source])


class Listener(Silent):
    def __init__(self) -> None:
        self.said: list[str] = []

    def say(self, text: str) -> None:
        self.said.append(text)


@pytest.fixture(params=["huggingface", "modelscope"])
def source(request: pytest.FixtureRequest) -> str:
    return request.param


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, source: str) -> Iterator[StubHub]:
    with running() as hub:
        monkeypatch.setenv("HF_ENDPOINT", hub.url)
        monkeypatch.setenv("HF_TOKEN", SECRET)
        monkeypatch.setenv("MODELSCOPE_ENDPOINT", hub.url)
        monkeypatch.setenv("MODELSCOPE_API_TOKEN", SECRET)
        monkeypatch.setenv("MODELSCOPE_HOME", str(tmp_path / "modelscope"))
        hub.repos["models/some/model"] = Repo(model_files(), branch=BRANCH[source])
        yield hub


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings(cache=tmp_path / "cache")


def get(source: str, settings: Settings, progress: Silent | None = None, **spec: object) -> Weights:
    model = ModelSpec(**{"id": "some/model", "source": source, **spec})
    return fetch(model, settings=settings, progress=progress or Silent())


def _read_bytes() -> int:
    return int(Path("/proc/self/io").read_text().split()[1])


def whole_folders(settings: Settings) -> list[Path]:
    return [path for path in settings.weights.glob("*/*/*") if re.match(r"\w", path.name)]


def test_a_download_is_whole_pinned_and_content_addressed(
    hub: StubHub, settings: Settings, source: str
) -> None:
    repo = hub.repos["models/some/model"]
    weights = get(source, settings)
    assert weights.path == settings.weights / source / "some--model" / repo.commit
    assert weights.revision == repo.commit
    assert weights.architecture == "Qwen2ForCausalLM"
    assert weights.size_bytes == len(repo.files["model.safetensors"])
    assert [file.name for file in weights.files] == KEPT
    on_disk = sorted(path.name for path in weights.path.rglob("*") if path.is_file())
    assert on_disk == [".card.md", ".manifest.json", *KEPT]
    for name in KEPT:
        assert (weights.path / name).read_bytes() == repo.files[name]
    require_whole(weights)
    beside = [path.name for path in weights.path.parent.iterdir()]
    assert not [name for name in beside if name.endswith(".partial")]


def test_a_whole_commit_needs_no_network(hub: StubHub, settings: Settings, source: str) -> None:
    first = get(source, settings)
    hub.requests.clear()
    assert get(source, settings, revision=first.revision) == first
    spec = ModelSpec(id="some/model", source=source, revision=first.revision)
    assert remote_size(spec, timeout=1, settings=settings).present
    assert hub.requests == []


def test_a_branch_is_resolved_but_not_downloaded_again(
    hub: StubHub, settings: Settings, source: str
) -> None:
    first = get(source, settings)
    hub.served.clear()
    assert get(source, settings) == first
    assert hub.served == {}
    hub.repos["models/some/model"] = Repo(model_files(2_000), branch=BRANCH[source])
    assert get(source, settings).revision != first.revision
    assert get(source, settings, revision=first.revision) == first


def test_a_cut_connection_heals_and_goes_on_where_it_was(
    hub: StubHub, settings: Settings, source: str
) -> None:
    repo = hub.repos["models/some/model"] = large(source)
    hub.cuts = {"model.safetensors": [21_000_000]}
    require_whole(get(source, settings))
    assert hub.cuts == {"model.safetensors": []}
    again = hub.served["model.safetensors"] - len(repo.files["model.safetensors"])
    assert 0 <= again <= 1_000_000


def test_a_reset_connection_heals(hub: StubHub, settings: Settings, source: str) -> None:
    hub.cuts, hub.resets = {"model.safetensors": [300_000]}, True
    require_whole(get(source, settings))


def test_an_error_of_the_hub_is_tried_again(hub: StubHub, settings: Settings, source: str) -> None:
    hub.errors = {"model.safetensors": [503]}
    listing = "/api/models/some/model" if source == "huggingface" else "/repo/files"
    hub.errors[listing] = [500]
    require_whole(get(source, settings))
    assert hub.errors == {"model.safetensors": [], listing: []}


def test_an_interrupted_download_resumes_in_the_next_call(
    hub: StubHub, settings: Settings, source: str
) -> None:
    repo = hub.repos["models/some/model"] = large(source)
    # The first answer is cut off; the second is a refusal, which no client tries again.
    hub.cuts = {"model.safetensors": [21_000_000]}
    hub.errors = {"model.safetensors": [PASS, 403]}
    with pytest.raises(GatedRepository):
        get(source, settings)
    assert whole_folders(settings) == []
    hub.served.clear()
    require_whole(get(source, settings))
    assert set(hub.served) == {"model.safetensors", "README.md"}
    missing = len(repo.files["model.safetensors"]) - 21_000_000
    assert missing <= hub.served["model.safetensors"] <= missing + 1_000_000


def test_a_lie_about_a_digest_is_found_and_not_kept(
    hub: StubHub, settings: Settings, source: str
) -> None:
    repo = hub.repos["models/some/model"]
    # Hugging Face lists SHA-256 for large files only, and git's blob id for the others.
    for name in ["model.safetensors", "tokenizer.json"][: 1 + (source == "huggingface")]:
        repo.wrong_digest = {name}
        with pytest.raises(CorruptWeights, match=name):
            get(source, settings)
        assert whole_folders(settings) == []
        hub.served.clear()
    repo.wrong_digest = set()
    weights = get(source, settings)
    require_whole(weights)
    assert hub.served[name] == len(repo.files[name])


def test_a_file_that_goes_bad_later_is_downloaded_anew(
    hub: StubHub, settings: Settings, source: str
) -> None:
    first = get(source, settings)
    with (first.path / "model.safetensors").open("ab") as stream:
        stream.write(b"x")
    hub.served.clear()
    assert get(source, settings) == first
    assert set(hub.served) == {"model.safetensors"}
    require_whole(first)


def test_a_file_edited_at_its_size_and_time_is_downloaded_anew(
    hub: StubHub, settings: Settings, source: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(content, "_SETTLED_NS", 100_000_000)  # as in life, but sooner
    first = get(source, settings)
    time.sleep(0.2)
    assert get(source, settings) == first  # its digests are remembered by now
    path = first.path / "model.safetensors"
    stat, whole = path.stat(), path.read_bytes()
    path.write_bytes(whole[:-1] + bytes([whole[-1] ^ 1]))
    os.utime(path, ns=(stat.st_atime_ns, stat.st_mtime_ns))
    hub.served.clear()
    assert get(source, settings) == first
    assert set(hub.served) == {"model.safetensors"}
    require_whole(first)


def test_a_whole_snapshot_is_not_read_again(
    hub: StubHub, settings: Settings, source: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(content, "_SETTLED_NS", 100_000_000)
    hub.repos["models/some/model"] = large(source)
    get(source, settings)
    time.sleep(0.2)
    get(source, settings)
    before = _read_bytes()
    get(source, settings)
    assert _read_bytes() - before < 10_000_000


def test_a_gated_repository_says_where_to_ask(
    hub: StubHub, settings: Settings, source: str
) -> None:
    hub.repos["models/some/model"].gated = True
    with pytest.raises(GatedRepository) as caught:
        get(source, settings)
    page = "some/model" if source == "huggingface" else "models/some/model"
    assert f"{hub.url}/{page}" in str(caught.value)
    variable = {"huggingface": "HF_TOKEN", "modelscope": "MODELSCOPE_API_TOKEN"}[source]
    assert variable in str(caught.value)
    assert SECRET not in repr(caught.value.__reduce__())


def test_what_does_not_exist_is_not_found(hub: StubHub, settings: Settings, source: str) -> None:
    with pytest.raises(RepositoryNotFound, match="some/other"):
        get(source, settings, id="some/other")
    with pytest.raises(RepositoryNotFound, match="no revision 'v9'"):
        get(source, settings, revision="v9")
    with pytest.raises(RepositoryNotFound, match="no repository id"):
        get(source, settings, id="../../etc")


def test_pickles_are_refused_before_anything_is_downloaded(
    hub: StubHub, settings: Settings, source: str
) -> None:
    files = model_files() | {"training_args.bin": b"pickle"}
    del files["model.safetensors"]
    hub.repos["models/some/model"] = Repo(files, branch=BRANCH[source])
    with pytest.raises(UnsafeWeights, match=r"pytorch_model\.bin") as caught:
        get(source, settings)
    assert "training_args" not in str(caught.value)
    with pytest.raises(UnsafeWeights):
        remote_size(ModelSpec(id="some/model", source=source), timeout=5, settings=settings)
    assert hub.served == {}
    allowed = get(source, settings, allow_pickle=True)
    assert "pytorch_model.bin" in [file.name for file in allowed.files]
    assert allowed.size_bytes == len(b"pickle")
    with pytest.raises(UnsafeWeights):
        get(source, settings, revision=allowed.revision)


def test_the_card_comes_with_a_model_and_is_no_part_of_it(
    hub: StubHub, settings: Settings, source: str
) -> None:
    repo = hub.repos["models/some/model"]
    repo.files["README.md"] = b"---\nbase_model: a/b\nquantized_by: c\n---\n"
    weights = get(source, settings)
    found = origin.of(weights.path)
    assert found is not None
    assert (found.base_models, found.made_by) == (("a/b",), "c")
    assert [file.name for file in weights.files] == KEPT


@pytest.mark.parametrize("trouble", [404, 403, 500])
def test_without_its_card_a_model_is_whole(
    hub: StubHub, settings: Settings, source: str, trouble: int
) -> None:
    hub.errors = {"README.md": [trouble] * 9}
    weights = get(source, settings)
    require_whole(weights)
    assert hub.errors["README.md"] != [trouble] * 9
    assert not (weights.path / ".card.md").exists()
    assert origin.of(weights.path) is None
    assert get(source, settings) == weights


def test_code_comes_only_when_it_is_trusted(hub: StubHub, settings: Settings, source: str) -> None:
    plain = get(source, settings)
    hub.served.clear()
    trusted = get(source, settings, trust_remote_code=True, revision=plain.revision)
    assert set(hub.served) == {"modeling_own.py"}
    assert trusted.path == plain.path
    assert [file.name for file in trusted.files] == sorted([*KEPT, "modeling_own.py"])
    assert get(source, settings) == plain


def test_a_model_that_needs_its_own_code_is_refused_before_its_weights_come(
    hub: StubHub, settings: Settings, source: str
) -> None:
    config = {"architectures": ["X"], "model_type": "own", "auto_map": {"AutoModel": "own.X"}}
    files = model_files() | {"config.json": json.dumps(config).encode()}
    hub.repos["models/some/model"] = Repo(files, branch=BRANCH[source])
    with pytest.raises(UnsafeWeights, match="trust_remote_code"):
        get(source, settings)
    assert "model.safetensors" not in hub.served
    assert get(source, settings, trust_remote_code=True).architecture == "X"


@pytest.mark.parametrize(
    ("name", "classes"),
    [
        ("config.json", {"AutoModel": "other/code--modeling_x.X"}),
        ("tokenizer_config.json", {"AutoTokenizer": [None, "other/code--tokenization_x.X"]}),
    ],
)
def test_code_of_another_repository_is_refused_before_the_weights_come(
    hub: StubHub, settings: Settings, source: str, name: str, classes: dict[str, object]
) -> None:
    files = model_files()
    config = json.loads(files[name]) | {"auto_map": classes}
    files |= {name: json.dumps(config).encode()}
    hub.repos["models/some/model"] = Repo(files, branch=BRANCH[source])
    with pytest.raises(UnsafeWeights, match="another repository, other/code") as refused:
        get(source, settings, trust_remote_code=True)
    assert "_x.py of other/code" in refused.value.remedy
    assert "model.safetensors" not in hub.served
    if name == "tokenizer_config.json":  # without leave nothing of it runs
        assert get(source, settings).architecture


def test_a_broken_repository_is_not_taken_for_a_whole_one(
    hub: StubHub, settings: Settings, source: str
) -> None:
    files = model_files()
    files["model.safetensors"] = files["model.safetensors"][:-7]
    hub.repos["models/some/model"] = Repo(files, branch=BRANCH[source])
    with pytest.raises(CorruptWeights, match=r"model\.safetensors should have \d+ bytes"):
        get(source, settings)
    assert whole_folders(settings) == []


def test_shards_and_subfolders(hub: StubHub, settings: Settings, source: str) -> None:
    files = model_files()
    del files["model.safetensors"]
    shards = {f"model-0000{n}-of-00002.safetensors": {f"t{n}": 5_000} for n in (1, 2)}
    files |= {name: safetensors(tensors) for name, tensors in shards.items()}
    placed = {tensor: name for name, tensors in shards.items() for tensor in tensors}
    files["model.safetensors.index.json"] = json.dumps({"weight_map": placed}).encode()
    files["consolidated.safetensors"] = safetensors({"all": 9_000})
    files["additional_chat_templates/tools.jinja"] = b"{{ tools }}"
    hub.repos["models/some/model"] = Repo(files, branch=BRANCH[source])
    weights = get(source, settings)
    names = [file.name for file in weights.files]
    assert "additional_chat_templates/tools.jinja" in names
    assert "consolidated.safetensors" not in names
    assert weights.size_bytes == sum(len(files[name]) for name in shards)


def sharded() -> dict[str, bytes]:
    """Return a repository with two shards and an index, and a leftover of another count."""
    files = model_files()
    del files["model.safetensors"]
    shards = {f"model-0000{n}-of-00002.safetensors": {f"t{n}": 5_000} for n in (1, 2)}
    files |= {name: safetensors(tensors) for name, tensors in shards.items()}
    placed = {tensor: name for name, tensors in shards.items() for tensor in tensors}
    files["model.safetensors.index.json"] = json.dumps({"weight_map": placed}).encode()
    return files


def seen(source: str, settings: Settings) -> RemoteSize:
    """Return what the preflight sees."""
    spec = ModelSpec(id="some/model", source=source)
    return remote_size(spec, timeout=5, settings=settings, read_config=True)


def test_strays_beside_an_index_are_neither_counted_nor_downloaded(
    hub: StubHub, settings: Settings, source: str
) -> None:
    files = sharded()
    strays = [
        "model-00003-of-00003.safetensors",
        "adapter_model.safetensors",
        "model.fp16.safetensors",
    ]
    hub.repos["models/some/model"] = Repo(
        files | dict.fromkeys([*strays, "adapter_config.json"], safetensors({"other": 70_000})),
        branch=BRANCH[source],
    )
    size = seen(source, settings)
    assert size.weight_bytes == sum(len(c) for n, c in files.items() if n.startswith("model-0"))
    hub.served.clear()
    weights = get(source, settings)
    assert not {*strays, "adapter_config.json"} & {*hub.served}
    assert not {*strays} & {file.name for file in weights.files}
    assert weights.size_bytes == seen(source, settings).weight_bytes == size.weight_bytes


def test_two_models_in_one_repository_are_refused_before_weights_come(
    hub: StubHub, settings: Settings, source: str
) -> None:
    files = sharded() | {"model.safetensors": safetensors({"other": 70_000})}
    hub.repos["models/some/model"] = Repo(files, branch=BRANCH[source])
    for ask in (seen, get):
        with pytest.raises(WeightsError, match="holds two models") as caught:
            ask(source, settings)
        assert "download some/model --local-dir model" in caught.value.remedy
        assert "model.source=local" in caught.value.remedy
    assert not [name for name in hub.served if name.endswith(".safetensors")]


def test_a_shard_that_a_repository_lacks_is_missed_before_others_come(
    hub: StubHub, settings: Settings, source: str
) -> None:
    files = sharded()
    del files["model-00002-of-00002.safetensors"]
    hub.repos["models/some/model"] = Repo(files, branch=BRANCH[source])
    for ask in (seen, get):
        with pytest.raises(CorruptWeights, match=r"model-00002-of-00002\.safetensors is missing"):
            ask(source, settings)
    assert "model-00001-of-00002.safetensors" not in hub.served


def test_an_adapter_on_a_hub_names_its_base(hub: StubHub, settings: Settings, source: str) -> None:
    adapter = json.dumps({"base_model_name_or_path": "org/base", "peft_type": "LORA"}).encode()
    files = {"adapter_model.safetensors": safetensors({"a": 10}), "adapter_config.json": adapter}
    hub.repos["models/some/model"] = Repo(files, branch=BRANCH[source])
    with pytest.raises(WeightsError, match=r"adapter .* of the model org/base") as caught:
        seen(source, settings)
    assert "merge_and_unload" in caught.value.remedy
    with pytest.raises(WeightsError, match="adapter"):
        get(source, settings)
    assert "adapter_model.safetensors" not in hub.served


POINTER = f"version https://git-lfs.github.com/spec/v1\noid sha256:{'0' * 64}\nsize 9\n".encode()


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("config.json", None, "no config.json"),
        ("config.json", b"{", "not JSON"),
        ("config.json", b"[]", "no JSON object"),
        ("config.json", POINTER, "pointer of git-lfs"),
        ("tokenizer.json", POINTER, "pointer of git-lfs"),
        ("model.safetensors", POINTER, "pointer of git-lfs"),
    ],
)
def test_what_a_repository_lacks_is_said_before_anything_is_downloaded(
    hub: StubHub, settings: Settings, source: str, name: str, content: bytes | None, said: str
) -> None:
    files = model_files() | {name: content or b""}
    if content is None:
        del files[name]
    hub.repos["models/some/model"] = Repo(files, branch=BRANCH[source])
    for ask in (seen, get):
        with pytest.raises(CorruptWeights, match=said) as caught:
            ask(source, settings)
        assert name in caught.value.fact
        assert "model.id" in caught.value.remedy
        assert str(settings.cache) not in str(caught.value)
    assert whole_folders(settings) == []


@pytest.mark.parametrize("content", [None, b"{", POINTER], ids=["gone", "broken", "pointer"])
def test_a_snapshot_here_without_its_config_is_one_error(
    hub: StubHub, settings: Settings, source: str, content: bytes | None
) -> None:
    config = get(source, settings).path / "config.json"
    config.unlink()
    if content:
        config.write_bytes(content)
    with pytest.raises(CorruptWeights, match=r"config\.json") as caught:
        seen(source, settings)
    (command,) = re.findall(r"`([^`]+)`", caught.value.remedy)
    subprocess.run(["bash", "-c", command], check=True)
    assert not seen(source, settings).present
    require_whole(get(source, settings))


def test_a_snapshot_that_lost_a_shard_is_still_mended_by_the_next_download(
    hub: StubHub, settings: Settings, source: str
) -> None:
    hub.repos["models/some/model"] = Repo(sharded(), branch=BRANCH[source])
    whole = get(source, settings)
    (whole.path / "model-00002-of-00002.safetensors").unlink()
    assert seen(source, settings).weight_bytes == whole.size_bytes
    assert get(source, settings) == whole


def test_strays_of_an_earlier_download_do_not_mislead(
    hub: StubHub, settings: Settings, source: str
) -> None:
    first = get(source, settings)
    (first.path / "adapter_model.safetensors").write_bytes(safetensors({"other": 10}))
    again = get(source, settings, revision=first.revision)
    assert again.digest == first.digest
    assert again.path != first.path
    assert [path.name for path in again.path.glob("*.safetensors")] == ["model.safetensors"]


@pytest.fixture
def nowhere(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[], str]]:
    """Return a function that points the clients at an address where nobody listens."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        host = f"127.0.0.1:{taken.getsockname()[1]}"

        def go() -> str:
            for variable in ("HF_ENDPOINT", "MODELSCOPE_ENDPOINT"):
                monkeypatch.setenv(variable, f"http://user:{SECRET}@{host}")
            return host

        yield go


def test_without_a_hub_a_branch_is_what_it_last_was(
    hub: StubHub, settings: Settings, source: str, nowhere: Callable[[], str]
) -> None:
    first = get(source, settings)
    nowhere()
    heard = Listener()
    assert get(source, settings, heard) == first
    assert [line for line in heard.said if first.revision in line and BRANCH[source] in line]
    with pytest.raises(HubUnreachable):
        get(source, settings, revision="another")


def test_nobody_listening_is_one_error_that_names_host_and_mirror(
    hub: StubHub, settings: Settings, source: str, nowhere: Callable[[], str]
) -> None:
    host = nowhere()
    with pytest.raises(HubUnreachable, match="Connection refused") as caught:
        remote_size(ModelSpec(id="some/model", source=source), timeout=5, settings=settings)
    variable = {"huggingface": "HF_ENDPOINT", "modelscope": "MODELSCOPE_ENDPOINT"}[source]
    assert variable in str(caught.value)
    assert host in str(caught.value)
    assert SECRET not in str(caught.value)


def test_a_hub_in_trouble_is_recognized_by_its_status(
    hub: StubHub, settings: Settings, source: str
) -> None:
    hub.errors = {"/api/": [502]}
    with pytest.raises(HubUnreachable, match="HTTP 502"):
        remote_size(ModelSpec(id="some/model", source=source), timeout=5, settings=settings)
    assert len(hub.requests) == 1


def test_a_login_page_is_no_hub(hub: StubHub, settings: Settings, source: str) -> None:
    hub.portal = True
    with pytest.raises(HubUnreachable, match="not a hub's"):
        remote_size(ModelSpec(id="some/model", source=source), timeout=5, settings=settings)


def test_a_silent_hub_is_given_up_in_time(hub: StubHub, settings: Settings, source: str) -> None:
    hub.delay = 3
    spec = ModelSpec(id="some/model", source=source)
    with pytest.raises(HubUnreachable):
        remote_size(spec, timeout=0.2, settings=settings)
    # It did not wait for an answer, and did not ask again and again.
    assert len(hub.requests) <= 1


def test_remote_size_downloads_nothing(hub: StubHub, settings: Settings, source: str) -> None:
    repo = hub.repos["models/some/model"]
    found = remote_size(ModelSpec(id="some/model", source=source), timeout=5, settings=settings)
    assert (found.commit, found.files, found.present) == (repo.commit, len(KEPT), False)
    assert found.bytes == sum(len(repo.files[name]) for name in KEPT)
    assert hub.served == {}
    assert not settings.cache.exists()


@pytest.mark.parametrize("source", ["huggingface"], indirect=True)
def test_the_token_stays_with_the_hub(hub: StubHub, settings: Settings, source: str) -> None:
    hub.cdn = True
    get(source, settings)
    hosts = {host.partition(":")[0]: header for host, header in hub.authorized}
    assert hosts == {"localhost": None}
    hub.cdn = False
    fetch_again = Settings(cache=settings.cache / "other")
    get(source, fetch_again)
    assert (f"127.0.0.1:{hub.port}", f"Bearer {SECRET}") in hub.authorized
    for record in settings.cache.rglob("*.json"):
        assert SECRET not in record.read_text()


def test_a_dataset_comes_whole_or_not_at_all(hub: StubHub, settings: Settings, source: str) -> None:
    files = {
        "README.md": b"# Rows",
        "main/train-00000.parquet": b"PAR1" * 50_000,
        "main/test.jsonl": b'{"question": "?"}\n',
        "load.py": b"raise SystemExit",
        ".gitattributes": b"",
    }
    repo = hub.repos["datasets/some/rows"] = Repo(files, branch=BRANCH[source])
    hub.errors = {"train-00000": [403]}
    with pytest.raises(GatedRepository, match="dataset some/rows"):
        fetch_dataset(source, "some/rows", None, settings=settings, progress=Silent())
    assert not (settings.datasets / source / "some--rows" / repo.commit).exists()
    folder = fetch_dataset(source, "some/rows", None, settings=settings, progress=Silent())
    assert folder == settings.datasets / source / "some--rows" / repo.commit
    on_disk = {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file() and path.name != ".manifest.json"
    }
    assert on_disk == {name: files[name] for name in list(files)[:3]}
    hub.requests.clear()
    again = fetch_dataset(source, "some/rows", repo.commit, settings=settings, progress=Silent())
    assert (again, hub.requests) == (folder, [])
    hub.repos["datasets/some/script"] = Repo({"load.py": b""}, branch=BRANCH[source])
    with pytest.raises(WeightsError, match="no data files"):
        fetch_dataset(source, "some/script", None, settings=settings, progress=Silent())


def test_a_cache_that_cannot_be_written_is_one_error(
    hub: StubHub, tmp_path: Path, source: str
) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(AssayError, match="ASSAY_CACHE"):
        get(source, Settings(cache=tmp_path / "file" / "cache"))


def test_a_file_outside_of_the_repository_is_refused(
    hub: StubHub, settings: Settings, source: str
) -> None:
    hub.repos["datasets/some/rows"] = Repo({"/escaped.jsonl": b"{}"}, branch=BRANCH[source])
    with pytest.raises(WeightsError, match="outside"):
        fetch_dataset(source, "some/rows", None, settings=settings, progress=Silent())
    files = model_files() | {"../../../../escaped.jinja": b""}
    hub.repos["models/some/model"] = Repo(files, branch=BRANCH[source])
    with pytest.raises(WeightsError, match="outside"):
        get(source, settings)
    assert hub.served == {}


@pytest.mark.parametrize("source", ["modelscope"], indirect=True)
def test_a_commit_that_modelscope_only_hints_at(
    hub: StubHub, settings: Settings, source: str
) -> None:
    repo = hub.repos["models/some/model"]
    repo.newest_commit_only_deleted = True
    weights = get(source, settings)
    assert weights.revision == repo.commit[:8]
    hub.served.clear()
    assert get(source, settings) == weights
    assert hub.served == {}
