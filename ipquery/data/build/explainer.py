"""Explains answers, as the child process of :func:`ipquery.data.build.parent.explain`.

Reads a pickled :class:`~ipquery.data.build.job.Question` and writes JSON objects, one a
line, as :mod:`ipquery.data.build.child` does; the last is ``{"explanations": [...]}``, or
``{"error": text}``.
"""

import sys
from typing import Any

from ipquery.data.blend.blend import prepare
from ipquery.data.blend.explain import explain, to_document
from ipquery.data.build.job import Question, Report
from ipquery.data.build.loading import carry_out, load
from ipquery.data.codes.lists import load_lists

_READ = 0.8


def _answer(question: Question, report: Report) -> dict[str, Any]:
    lists = question.lists
    known = load_lists(lists.countries, lists.provinces, lists.cities, lists.only)
    loaded = load(question, report, _READ)
    report("finding codes", _READ)
    tables = [one.table for one in loaded]
    prepared = prepare(question.sources, tables, question.policy, known)
    found = [to_document(prepared, ip, explain(prepared, ip)) for ip in question.addresses]
    report("done", 1.0)
    return {"explanations": found}


if __name__ == "__main__":
    sys.exit(carry_out(_answer))
