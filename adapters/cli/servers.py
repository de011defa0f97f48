"""``retrace dev`` and ``retrace serve``: run a service in this process."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from adapters.bootstrap import Service
    from adapters.settings import Settings
    from retrace.functions import Registry

Port = Annotated[
    int | None, typer.Option("--port", min=0, max=65535, help="Else RETRACE_PORT, else 8080; 0: any free one.")
]
Database = Annotated[
    str | None,
    typer.Option(
        "--database",
        metavar="URL",
        help="sqlite:///path or postgresql://...; else RETRACE_DATABASE, else retrace.db here.",
    ),
]


def register(app: typer.Typer) -> None:
    """Add these commands."""
    app.command()(dev)
    app.command()(serve)


def dev(
    folder: Annotated[
        Path,
        typer.Argument(metavar="FOLDER", help="Definitions and functions.py; the current folder.", show_default=False),
    ] = Path(),
    port: Port = None,
    database: Database = None,
) -> None:
    """Develop: serve the definitions of a folder on this machine only, for whoever is on it."""
    with _reporting():
        from adapters.cli.deployment import load_all
        from adapters.cli.discovery import discover
        from adapters.cli.failures import Failure

        # A developer's shell may hold production's settings; reachable is this service for this machine only.
        settings = _settings(
            port,
            database,
            host="127.0.0.1",
            api_tokens={},
            auth=None,
            allow_loopback=True,
            definitions=None,
            functions=None,
            processes=1,
        )
        try:
            found = discover(folder)
        except NotADirectoryError:
            raise Failure(f"{folder} is not a folder. Make it, or name the one that holds your definitions.") from None
        functions = load_all(found.functions)

        async def prepare(service: Service, url: str) -> None:
            await _introduce(service, url, folder, found.documents, functions, settings)

        _run(settings, functions, prepare, development=True)
        print("Stopped. What was unfinished goes on at the next start.")


def serve(port: Port = None, database: Database = None) -> None:
    """Serve in production, set up by RETRACE_* variables."""
    with _reporting():
        import structlog

        from adapters.cli.deployment import deploy_all, load_all
        from adapters.cli.discovery import discover
        from adapters.cli.failures import USAGE, Failure

        settings = _settings(port, database)
        if settings.reachable_from_elsewhere and not settings.api_tokens and settings.auth is None:
            raise Failure(
                f"RETRACE_HOST={settings.host} is reachable from other machines, and anyone there could do anything. Set "
                'RETRACE_API_TOKENS to name:sha256 of the tokens to accept (printf %s "$TOKEN" | sha256sum), or '
                "RETRACE_AUTH=none if something in front authenticates.",
                USAGE,
            )
        if settings.forgets_too_early:
            raise Failure(
                "RETRACE_RETENTION is shorter than 48 hours (P2D), for which repeats of a start are promised their first "
                "answer. Make it longer, or leave it out to keep everything.",
                USAGE,
            )
        functions = load_all([settings.functions] if settings.functions else [])

        async def prepare(service: Service, url: str) -> None:
            documents = discover(settings.definitions).documents if settings.definitions else []
            deployed, complaints = await deploy_all(service, documents)
            if complaints:
                raise Failure("\n".join(complaints))
            structlog.get_logger("retrace").info("serving", url=url, deployed=len(deployed), functions=len(functions))

        _run(settings, functions, prepare, development=False)
        structlog.get_logger("retrace").info("stopped")


def _settings(port: int | None, database: str | None, **fixed: Any) -> Settings:
    from adapters.settings import read_settings

    given = {name: value for name, value in {"port": port, "database": database}.items() if value is not None}
    return read_settings(**given, **fixed)


def _run(settings: Settings, functions: Registry, prepare: Any, *, development: bool) -> None:
    from adapters.cli.hosting import Among, bind, run
    from adapters.cli.logs import configure_logs
    from adapters.cli.processes import Processes
    from adapters.neighbours import Place

    configure_logs(settings.log_format or ("text" if development else "json"), settings.log_level)
    _check_place(settings)

    async def open_it(place: Place | None = None) -> Service:
        from adapters.bootstrap import open_service

        projections = functions.projections.values()
        return await open_service(
            settings, functions=functions, projections=projections, development=development, place=place
        )

    def one_of_several(folder: str, parent: int, serves: Callable[[], None], number: int) -> int:
        place = Place(Path(folder), number, settings.process_count)
        try:
            with _reporting():
                run(settings, listener, lambda: open_it(place), prepare, Among(parent, serves))
        except typer.Exit as ended:
            return ended.exit_code
        return 0

    with closing(bind(settings.host, settings.port)) as listener:
        if settings.process_count == 1:
            run(settings, listener, open_it, prepare)
            return
        with TemporaryDirectory(prefix="retrace-") as sockets:
            if code := Processes(settings.process_count, partial(one_of_several, sockets)).run():
                raise typer.Exit(code)


def _check_place(settings: Settings) -> None:
    """Raises Failure where a SQLite database can certainly not be."""
    from adapters.cli.failures import Failure

    file = settings.sqlite_path
    if file is None:
        return
    folder = file.absolute().parent
    if not folder.is_dir():
        raise Failure(
            f"The folder {file.parent} of the database does not exist. Make it, or write another RETRACE_DATABASE."
        )
    if file.is_dir():
        raise Failure(
            f"The database {file} is a folder. Name a file in it: RETRACE_DATABASE=sqlite:///{file}/retrace.db."
        )
    if not os.access(folder, os.W_OK):
        raise Failure(
            f"The folder {file.parent} of the database cannot be written to by this user; beside the database SQLite makes "
            "further files there. Change its permissions, or write another RETRACE_DATABASE."
        )


def _why(cause: BaseException) -> str:
    """The first sentence of a driver's or the system's complaint, without what only programs need."""
    if isinstance(cause, OSError) and cause.strerror:
        return f"{cause.strerror} ({cause.filename})" if cause.filename else cause.strerror
    lines = str(cause).strip().splitlines()
    return lines[0].strip().rstrip(".") if lines else type(cause).__name__


async def _introduce(
    service: Service, url: str, folder: Path, documents: list[Path], functions: Registry, settings: Settings
) -> None:
    """Deploy a folder's documents, and tell a developer what there is now and what to try."""
    from adapters.cli.deployment import deploy_all, left_to_workers, remarks, trial
    from adapters.cli.failures import complain

    deployed, complaints = await deploy_all(service, documents)
    print(f"Retrace at {url} (documentation at {url}/docs), database {_shown(settings)}")
    for file, each in deployed:
        resource = f", served at /{each.resource}" if each.resource else ""
        state = "deployed" if each.created else "unchanged"
        print(f"  {each.namespace}/{each.name}@{each.version}  {state} from {file}{resource}")
    files = [file for file, _ in deployed]
    for line in await remarks(service, files):
        print(line)
    if functions:
        print(f"  functions: {', '.join(sorted(functions))}")
    if elsewhere := left_to_workers(files, functions):
        print(f"  not in this process, left to workers: {', '.join(elsewhere)}")
    if functions.projections:
        print(f"  projections: {', '.join(sorted(functions.projections))}")
    for complaint in complaints:
        complain(complaint)
    if deployed:
        print(f"Try:\n  {await trial(service, url, deployed[0][1])}")
    else:
        place = "the current folder" if folder == Path() else folder
        print(f"No definitions in {place}. Write one and start again, or: retrace deploy FILE")
    sys.stdout.flush()


def _shown(settings: Settings) -> str:
    from adapters.bootstrap import server_of

    return server_of(settings.database)


@contextmanager
def _reporting() -> Iterator[None]:
    """Complain about settings, files and databases that cannot be used, and end with the exit code that belongs to it."""
    from adapters.callouts.functions import UnfitFunctionError
    from adapters.cli.failures import FAILED, USAGE, Failure, complain
    from adapters.settings import SettingsError
    from domain.errors import BlobStorageError, RetraceError, StorageError

    try:
        yield
    except SettingsError as error:
        complain("The settings cannot be used.\n" + "\n".join(f"  {problem}" for problem in error.problems))
        raise typer.Exit(USAGE) from None
    except Failure as failure:
        complain(str(failure))
        raise typer.Exit(failure.exit_code) from None
    except UnfitFunctionError as error:
        complain(str(error))
        raise typer.Exit(FAILED) from None
    except RetraceError as error:
        detail = error.detail
        if isinstance(error, BlobStorageError):
            detail = f"{detail[:1].upper()}{detail[1:]}."
        elif isinstance(error, StorageError) and error.__cause__ is not None:
            detail = f"The database cannot be used: {_why(error.__cause__)}.\nCheck RETRACE_DATABASE, or --database."
        complain(f"The service cannot start. {detail}")
        raise typer.Exit(FAILED) from None
