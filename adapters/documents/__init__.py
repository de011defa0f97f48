"""Serverless Workflow documents: from a text with positions to a plan, or to every problem at once; and diagrams of
plans.

`source` reads YAML and JSON into plain data whose places are known; `compiler` makes a plan of the data; `checks`
warns about the plan; `inspection` lists what else the application has to check; `mermaid` and `svg` draw.
`definition` puts reading and compiling together.
"""

from adapters.documents.canonical import digest
from adapters.documents.compiler import compile_plan
from adapters.documents.definition import Definition, read_definition
from adapters.documents.inspection import children_of, connections_of, expressions_of, functions_of, schemas_of
from adapters.documents.source import MediaType, Source, load

__all__ = [
    "Definition",
    "MediaType",
    "Source",
    "children_of",
    "compile_plan",
    "connections_of",
    "digest",
    "expressions_of",
    "functions_of",
    "load",
    "read_definition",
    "schemas_of",
]
