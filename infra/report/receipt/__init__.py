"""The receipt: a report that can be checked again, by somebody else, later.

`report.json` carries the digest of every file of its run, of every row and of every single value,
and one seal over all of it. Checking it asks three things:

- Is it as it was written? Each value, row and file has its digest, so what was changed has a name.
- Is it right? The scores, the comparison and the verdict are made once more from the stored rows.
- Is it about this model? The weights' folders, where they still are, hold the files recorded.

What it protects from: a mistake, a broken disk, a later edit of any number, row or file. What it
does not: somebody who computes everything anew, seal included. A digest inside a file cannot keep
its writer honest. Keep the seal elsewhere (it stands in the log of the run and in Prefect) and
hand it over with `--seal`: a report that was sealed again does not match it.

    sealing      digests and the seal
    contents     is it as it was written?
    scores       are the scores right?
    remaking     are comparison and verdict?
    endpoint     the same for an endpoint that somebody else runs
    weights      is it about this model?
    messages     the table of what was checked
"""

from __future__ import annotations

from infra.report.receipt.checks import Checked
from infra.report.receipt.messages import table
from infra.report.receipt.sealing import seal_of, sealed
from infra.report.receipt.verify import problems, require_as_sealed, require_untouched, verify

__all__ = [
    "Checked",
    "problems",
    "require_as_sealed",
    "require_untouched",
    "seal_of",
    "sealed",
    "table",
    "verify",
]
