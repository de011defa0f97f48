"""The command line: ``retrace dev`` and ``serve`` run a service, every other command talks to one over HTTP.

`app` puts the commands together; `remote` gives a command its connection and its ``--output``; `output` and the
`views_*` modules write; `failures` turns what was to be expected into one clear paragraph; `discovery`, `hosting` and
`logs` serve ``dev`` and ``serve``. Whatever is slow to import (HTTP, tables, the service itself) is imported by the
command that needs it.
"""
