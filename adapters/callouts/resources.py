"""External schemas: fetched over the guarded session at first use, kept for the life of the process."""

from __future__ import annotations

import json
from collections import OrderedDict
from typing import Any, Final

from adapters.callouts.http import HttpCallouts
from adapters.documents.source import load
from application.ports import Answered, Callout, ResourceError
from domain.errors import InvalidDefinitionError

_TIMEOUT_S: Final = 30.0
_KEPT: Final = 256


class HttpResources:
    """Implements `application.ports.Resources`."""

    def __init__(self, http: HttpCallouts) -> None:
        self._http = http
        self._kept: OrderedDict[str, Any] = OrderedDict()

    async def fetch(self, resource: Any) -> Any:
        endpoint = resource.get("endpoint") if isinstance(resource, dict) else resource
        name = json.dumps(endpoint, sort_keys=True)
        if name in self._kept:
            return self._kept[name]
        callout = Callout(
            kind="http",
            function="http",
            arguments={"method": "get", "endpoint": endpoint},
            idempotency_key="schema",
            attempt=1,
            timeout_s=_TIMEOUT_S,
            orchestration="",
            task="",
        )
        result = await self._http.send(callout)
        if not isinstance(result, Answered):
            raise ResourceError(f"the schema {name} could not be fetched: {result.fault.detail or result.fault.title}")
        document = result.output
        if isinstance(document, str):
            try:
                document = load(document, "application/yaml").value
            except InvalidDefinitionError as error:
                raise ResourceError(f"the schema {name} is neither JSON nor YAML") from error
        self._kept[name] = document
        if len(self._kept) > _KEPT:
            self._kept.popitem(last=False)
        return document
