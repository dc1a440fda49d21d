"""A correction of what Schemathesis sends; the variable SCHEMATHESIS_HOOKS names this module."""

from __future__ import annotations

from typing import Any

import schemathesis


@schemathesis.hook
def before_call(
    context: schemathesis.HookContext,  # noqa: ARG001  # the signature of a hook  # the hook's signature
    case: schemathesis.Case[Any],
    kwargs: dict[str, Any],  # noqa: ARG001  # the signature of a hook
) -> None:
    """Write a whole ``top_k`` without a fraction: JSON Schema takes 64.0 for one, we do not."""
    if isinstance(case.body, dict):
        top_k = case.body.get("top_k")
        if isinstance(top_k, float) and top_k.is_integer():
            case.body["top_k"] = int(top_k)
