"""What ``dev`` and ``serve`` bring into a service before it answers: functions, and the definitions of a folder."""

from __future__ import annotations

import json
import shlex
import traceback
from collections.abc import Container, Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from adapters.cli.discovery import example_input
from adapters.cli.failures import Failure, places
from domain.errors import InvalidDefinitionError, Problem, RetraceError
from retrace.functions import DuplicateFunctionError, Registry, load_functions
from retrace.projections import DuplicateProjectionError

if TYPE_CHECKING:
    from adapters.bootstrap import Service
    from application.service import Deployed


def load_all(files: Iterable[Path]) -> Registry:
    """Functions and projections of several files, as one registry. Raises Failure that names the file and line at fault."""
    everything = Registry()
    for file in files:
        try:
            found = load_functions(file)
            for function in found.values():
                everything.add(function)
            for projection in found.projections.values():
                everything.projections.add(projection)
        except (DuplicateFunctionError, DuplicateProjectionError) as error:
            raise Failure(str(error)) from None
        except (Exception, SystemExit) as error:  # noqa: BLE001 - a user's file may raise anything; it is told, not hidden
            raise Failure(_unloadable(file, error)) from None
    return everything


async def deploy_all(service: Service, files: Sequence[Path]) -> tuple[list[tuple[Path, Deployed]], list[str]]:
    """Deploy documents; what was deployed, and a complaint for each that was refused."""
    deployed: list[tuple[Path, Deployed]] = []
    complaints: list[str] = []
    for file in files:
        try:
            deployed.append((file, await service.definitions.deploy(file.read_bytes(), "application/yaml")))
        except InvalidDefinitionError as error:
            complaints.append("\n".join([f"{file} was not deployed:", *_indented(error.problems, file)]))
        except RetraceError as error:
            complaints.append(f"{file} was not deployed: {error.detail}")
    return deployed, complaints


async def remarks(service: Service, files: Iterable[Path]) -> list[str]:
    """Warnings about documents, now that all of them are deployed: a child that came later is no unknown one. Functions that
    are elsewhere are told by `left_to_workers`.
    """
    lines: list[str] = []
    for file in files:
        _, warnings = await service.definitions.check(file.read_bytes(), "application/yaml")
        lines += _indented([each for each in warnings if each.code != "unknown-function"], file, "warning: ")
    return lines


def left_to_workers(files: Iterable[Path], functions: Container[str]) -> list[str]:
    """Each function that documents call and this process has not, with the first place of a call: whoever runs no worker
    sees what was misspelt.
    """
    from adapters.documents import functions_of, read_definition

    found: dict[str, str] = {}
    for file in files:
        read = read_definition(file.read_bytes(), "application/yaml")
        for pointer, name in functions_of(read.plan):
            if name not in functions:
                line = read.placed(Problem(pointer, "")).line
                found.setdefault(name, f"{name} ({file}:{line})")
    return [found[name] for name in sorted(found)]


async def trial(service: Service, url: str, deployed: Deployed) -> str:
    """A command line that starts an orchestration of a definition."""
    *_, document = await service.definitions.document(deployed.namespace, deployed.name, deployed.version)
    value = example_input(document)
    if deployed.resource:
        return _curl(f"{url}/{deployed.resource}", value)
    return _curl(f"{url}/v1/orchestrations", {"definition": f"{deployed.namespace}/{deployed.name}", "input": value})


def _curl(url: str, body: Any) -> str:
    return f"curl -i {url} -H 'Content-Type: application/json' -d {shlex.quote(json.dumps(body, ensure_ascii=False))}"


def _indented(problems: Iterable[Problem], file: Path, before: str = "") -> list[str]:
    return [f"  {before}{line}" for line in places(map(msgspec.structs.asdict, problems), str(file))]


def _unloadable(file: Path, error: BaseException) -> str:
    """Where in the user's own code it went wrong, and how."""
    what = "".join(traceback.format_exception_only(error)).strip()
    # Notes repeat the file; the first paragraph says what happened.
    what = next((line for line in what.splitlines() if not line.startswith(" ")), what)
    folder = str(file.resolve().parent)
    own = [frame for frame in traceback.extract_tb(error.__traceback__) if frame.filename.startswith(folder)]
    where = f"{own[-1].filename}:{own[-1].lineno}" if own else str(file)
    if isinstance(error, SyntaxError) and error.filename:
        where = f"{error.filename}:{error.lineno}"
        what = f"SyntaxError: {error.msg}"
    return f"The functions of {file} cannot be loaded. {where}: {what}"
