"""What an endpoint says of itself that changes when another model, engine or setting answers there.

Servers say it in their list of models, on pages of their own, and in answers. Where one says
nothing, the user's word is all there is.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from contextlib import closing
from typing import Any

from infra.contracts.errors import BudgetSpent, EndpointError
from infra.contracts.specs.endpoint import EndpointSpec
from infra.engines.remote import listing
from infra.engines.remote.asking import Asker
from infra.engines.remote.budget import Budget
from infra.store.content import digest_of

PAGES = ("/version", "/props", "/info", "/get_model_info", "/api/version")
"""Beside the API: of vLLM, llama.cpp, TGI, SGLang and Ollama."""

FINGERPRINT = "system_fingerprint"
"""Name in answers for the configuration that gave one."""

_LISTED = ("root", "parent", "owned_by", "digest", "modified_at", "revision", "version", "meta")
_ON_PAGES = (
    *("version", "commit", "sha", "build_info", "model_path", "model_id", "model_sha"),
    *("model_dtype", "model_ftype", "chat_template", "docker_label", "weight_version"),
)
_CREATED = "created"
_DAY = 86_400.0
_MORE_THAN_A_SECOND = 1.1
_LONG = 200


def said(
    asker: Asker, pages: Mapping[str, Any], listed: Mapping[str, Any] | None
) -> dict[str, str]:
    """Return what an endpoint says of itself, by where it says it.

    Args:
        asker: The endpoint, after it was asked what it can: answers say something too.
        pages: See `read`.
        listed: What its list of models says of this one; none where it does not list it.

    Raises:
        EndpointError: Nobody answers there any more.
    """
    found = {f"/models {name}": value for name, value in _of(listed or {}, _LISTED)}
    if listed is not None and (created := _created(asker, listed)):
        found[f"/models {_CREATED}"] = created
    for page, one in pages.items():
        found |= {f"{page} {name}": value for name, value in _of(one, _ON_PAGES)}
    if asker.fingerprints:
        found[FINGERPRINT] = ", ".join(sorted(asker.fingerprints))
    return found


def of(spec: EndpointSpec) -> dict[str, str]:
    """Return what an endpoint says of itself that is asked nothing else.

    Raises:
        EndpointError: Nobody answers there, or not to us.
    """
    with closing(Asker(spec, Budget(spec), lambda text: None)) as asker:
        listed = (listing.models(asker) or {}).get(spec.model)
        return said(asker, read(asker), listed)


def read(asker: Asker) -> dict[str, Mapping[str, Any]]:
    """Return the pages on which an endpoint describes itself, as far as there are any.

    One that hangs up on whoever asks for a page that is not there may answer all else.

    Raises:
        BudgetSpent: It may not be asked.
    """
    found: dict[str, Mapping[str, Any]] = {}
    for page in PAGES:
        try:
            one = asker.get_beside(page)
        except BudgetSpent:
            raise
        except EndpointError:
            continue
        if isinstance(one, dict):
            found[page] = one
    return found


def _of(given: Mapping[str, Any], names: tuple[str, ...]) -> Iterator[tuple[str, str]]:
    for name in names:
        if (value := given.get(name)) not in (None, "", {}, []):
            text = value if isinstance(value, str) else digest_of(value)
            yield name, text if len(text) <= _LONG else digest_of(text)


def _created(asker: Asker, listed: Mapping[str, Any]) -> str:
    """Return when the model was made, as it says; empty if that is when the list was asked for.

    Some servers write their clock there, so that what looks like that is asked for again.
    """
    created = listed.get(_CREATED)
    if isinstance(created, bool) or not isinstance(created, int | float) or not created:
        return ""
    if abs(time.time() - created) < _DAY:
        asker.pause(_MORE_THAN_A_SECOND)
        again = (listing.models(asker) or {}).get(asker.spec.model, {})
        if again.get(_CREATED) != created:
            return ""
    return str(created)
