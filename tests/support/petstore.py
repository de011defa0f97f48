"""The outside world of the conformance kit on loopback: the operations of petstore.swagger.io and httpbin.org that it uses.

The kit's documents are rewritten in scheme and host only (`Petstore.local`), so every path, query and answer that a
scenario relies on has to be right here.
"""

from __future__ import annotations

import base64
import contextlib
from collections.abc import AsyncIterator
from typing import Any

from aiohttp import web

HOSTS = ("https://petstore.swagger.io", "https://httpbin.org")
PETS = [
    {"id": 1, "category": {"id": 1, "name": "Dogs"}, "name": "Rex", "photoUrls": [], "tags": [], "status": "available"},
    {"id": 2, "category": {"id": 2, "name": "Cats"}, "name": "Tom", "photoUrls": [], "tags": [], "status": "available"},
    {"id": 3, "category": {"id": 2, "name": "Cats"}, "name": "Kit", "photoUrls": [], "tags": [], "status": "sold"},
]
STATUSES = ("available", "pending", "sold")


class Petstore:
    """A running stub; `url` is its address."""

    def __init__(self, port: int = 0) -> None:
        self.port = port

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def local(self, document: str) -> str:
        """A document of the kit with its hosts replaced by this one."""
        for host in HOSTS:
            document = document.replace(host, self.url)
        return document

    async def find_by_status(self, request: web.Request) -> web.Response:
        wanted = request.query.getall("status", [])
        if not wanted or not set(wanted) <= set(STATUSES):
            return web.json_response({"code": 400, "type": "unknown", "message": "Invalid status value"}, status=400)
        return web.json_response([pet for pet in PETS if pet["status"] in wanted])

    async def pet_by_id(self, request: web.Request) -> web.Response:
        wanted = request.match_info["id"]
        found = [pet for pet in PETS if str(pet["id"]) == wanted]
        if not found:
            return web.json_response({"code": 1, "type": "error", "message": "Pet not found"}, status=404)
        return web.json_response(found[0])

    async def basic_auth(self, request: web.Request) -> web.Response:
        user, password = request.match_info["user"], request.match_info["password"]
        expected = "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode()
        if request.headers.get("Authorization") != expected:
            return web.Response(status=401, headers={"WWW-Authenticate": 'Basic realm="Fake Realm"'})
        return web.json_response({"authenticated": True, "user": user})

    async def swagger(self, _: web.Request) -> web.Response:
        return web.json_response(self.document())

    def document(self) -> dict[str, Any]:
        """Swagger 2.0, as the original is."""
        return {
            "swagger": "2.0",
            "info": {"title": "Petstore", "version": "1.0.7"},
            "host": f"127.0.0.1:{self.port}",
            "basePath": "/v2",
            "schemes": ["http"],
            "paths": {
                "/pet/findByStatus": {"get": _FIND},
                "/pet/{petId}": {"get": _GET},
            },
        }

    @contextlib.asynccontextmanager
    async def serving(self) -> AsyncIterator[Petstore]:
        app = web.Application()
        app.router.add_get("/v2/swagger.json", self.swagger)
        app.router.add_get("/v2/pet/findByStatus", self.find_by_status)
        app.router.add_get("/v2/pet/{id}", self.pet_by_id)
        app.router.add_get("/basic-auth/{user}/{password}", self.basic_auth)
        runner = web.AppRunner(app, access_log=None, shutdown_timeout=1.0)
        await runner.setup()
        try:
            await web.TCPSite(runner, "127.0.0.1", self.port).start()
            self.port = int(runner.addresses[0][1])
            yield self
        finally:
            await runner.cleanup()


_FIND = {
    "operationId": "findPetsByStatus",
    "produces": ["application/json"],
    "parameters": [
        {
            "name": "status",
            "in": "query",
            "required": True,
            "type": "array",
            "items": {"type": "string", "enum": [*STATUSES], "default": "available"},
            "collectionFormat": "multi",
        }
    ],
    "responses": {"200": {"description": "successful operation"}, "400": {"description": "Invalid status value"}},
}
_GET = {
    "operationId": "getPetById",
    "produces": ["application/json"],
    "parameters": [{"name": "petId", "in": "path", "required": True, "type": "integer", "format": "int64"}],
    "responses": {"200": {"description": "successful operation"}, "404": {"description": "Pet not found"}},
}
