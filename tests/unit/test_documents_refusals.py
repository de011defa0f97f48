"""Every refusal of the compiler, with its pointer, code, line and column."""

from __future__ import annotations

import textwrap
from typing import Any

import pytest

from adapters.documents import compile_plan, read_definition
from adapters.documents.compilation import MAX_TASKS
from domain.errors import InvalidDefinitionError

HEAD = "document: {dsl: 1.0.3, namespace: n, name: d, version: 1.0.0}\n"


def refused(text):
    with pytest.raises(InvalidDefinitionError) as caught:
        read_definition(text, "application/yaml")
    return [(problem.pointer, problem.code, problem.line, problem.column) for problem in caught.value.problems]


def in_task(text):
    """Problems of a definition whose one task `t` has this body; its first line is line 4, its first column 5."""
    return refused(HEAD + "do:\n- t:\n" + textwrap.indent(textwrap.dedent(text), "    "))


# --- tasks -----------------------------------------------------------------------------------------------------------

TASKS = [
    # what a task is
    ("{}", [("", "missing", 3, 3)]),
    ("[]", [("", "wrong-type", 3, 3)]),
    ("if: .x", [("", "missing", 3, 3)]),
    ("bogus: 1", [("", "missing", 3, 3), ("/bogus", "unknown-keyword", 4, 5)]),
    ("set: {a: 1}\nwait: PT1S", [("", "ambiguous-task", 3, 3)]),
    ("set: {a: 1}\nbogus: 1", [("/bogus", "unknown-keyword", 5, 5)]),
    ("set: {a: 1}\nretry: {}", [("/retry", "unknown-keyword", 5, 5)]),
    ("set: {a: 1}\nif: true", [("/if", "wrong-type", 5, 5)]),
    ("set: {a: 1}\nif: ${ }", [("/if", "empty-expression", 5, 5)]),
    ("set: {a: 1}\nmetadata: 1", [("/metadata", "wrong-type", 5, 5)]),
    ("set: {a: 1}\nthen: nowhere", [("/then", "unknown-then", 5, 5)]),
    ("set: {a: 1}\nthen: 1", [("/then", "wrong-type", 5, 5)]),
    ("set: {a: 1}\npivot: maybe", [("/pivot", "wrong-type", 5, 5)]),
    # data
    ("set: {a: 1}\ninput: {form: .}", [("/input/form", "unknown-keyword", 5, 13)]),
    ("set: {a: 1}\ninput: {from: [1]}", [("/input/from", "wrong-type", 5, 13)]),
    ("set: {a: 1}\noutput: {as: 1}", [("/output/as", "wrong-type", 5, 14)]),
    ("set: {a: 1}\noutput: {schema: {format: avro, document: {}}}", [("/output/schema/format", "unsupported", 5, 23)]),
    ("set: {a: 1}\noutput: {schema: {}}", [("/output/schema", "missing", 5, 14)]),
    ("set: {a: 1}\ninput: {schema: {document: x}}", [("/input/schema/document", "wrong-type", 5, 22)]),
    (
        "set: {a: 1}\ninput: {schema: {resource: {endpoint: '${ .x }'}}}",
        [("/input/schema/resource/endpoint", "unsupported", 5, 33)],
    ),
    (
        "set: {a: 1}\nexport: {schema: {resource: {endpoint: 'file:///etc'}}}",
        [("/export/schema/resource/endpoint", "invalid", 5, 34)],
    ),
    # set, wait, raise
    ("set: {}", [("/set", "missing", 4, 5)]),
    ("set: words", [("/set", "wrong-type", 4, 5)]),
    ("set: [1]", [("/set", "wrong-type", 4, 5)]),
    ("wait: {}", [("/wait", "missing", 4, 5)]),
    ("wait: {weeks: 1}", [("/wait/weeks", "unknown-keyword", 4, 12)]),
    ("wait: {seconds: 1.5}", [("/wait/seconds", "wrong-type", 4, 12)]),
    ("wait: {seconds: -1}", [("/wait/seconds", "invalid", 4, 12)]),
    ("wait: {seconds: true}", [("/wait/seconds", "wrong-type", 4, 12)]),
    ("wait: {days: 400000}", [("/wait", "invalid", 4, 5)]),
    ("wait: soon", [("/wait", "invalid", 4, 5)]),
    ("wait: P", [("/wait", "invalid", 4, 5)]),
    ("wait: PT", [("/wait", "invalid", 4, 5)]),
    ("wait: P1Y", [("/wait", "unsupported", 4, 5)]),
    ("wait: P1M", [("/wait", "unsupported", 4, 5)]),
    ("wait: 5", [("/wait", "wrong-type", 4, 5)]),
    ("raise: {}", [("/raise", "missing", 4, 5)]),
    ("raise: {error: nobody}", [("/raise/error", "unknown-reference", 4, 13)]),
    ("raise: {error: {type: 'http://a/b'}}", [("/raise/error", "missing", 4, 13)]),
    ("raise: {error: {type: word, status: 400}}", [("/raise/error/type", "invalid", 4, 21)]),
    ("raise: {error: {type: 'http://a/b', status: '400'}}", [("/raise/error/status", "wrong-type", 4, 41)]),
    ("raise: {error: {type: 'http://a/b', status: 99}}", [("/raise/error/status", "invalid", 4, 41)]),
    ("raise: {error: {type: 'http://a/b', status: 400, code: 1}}", [("/raise/error/code", "unknown-keyword", 4, 54)]),
    # switch
    ("switch: []", [("/switch", "invalid", 4, 5)]),
    ("switch: {a: {then: exit}}", [("/switch", "wrong-type", 4, 5)]),
    ("switch: [{a: {when: .x}}]", [("/switch/0/a", "missing", 4, 15)]),
    ("switch: [{a: {when: .x, then: nowhere}}]", [("/switch/0/a/then", "unknown-then", 4, 29)]),
    ("switch: [{a: {then: exit}, b: {then: exit}}]", [("/switch/0", "invalid", 4, 14)]),
    ("switch: [{a: {then: exit}}, {b: {then: end}}]", [("/switch/1/b", "second-default", 4, 34)]),
    ("switch: [{a: {when: .x, then: exit}}, {a: {then: end}}]", [("/switch/1/a", "duplicate-name", 4, 44)]),
    # do, for, fork, try
    ("do: {a: {set: {x: 1}}}", [("/do", "wrong-type", 4, 5)]),
    ("do: [{a: {set: {x: 1}}}, {a: {set: {x: 1}}}]", [("/do/1/a", "duplicate-name", 4, 31)]),
    ("do: [a]", [("/do/0", "wrong-type", 4, 10)]),
    ("for: {in: .x}", [("", "missing", 3, 3)]),
    ("for: {each: x}\ndo: []", [("/for", "missing", 4, 5)]),
    ("for: {in: .x, each: a-b}\ndo: []", [("/for/each", "invalid", 4, 19)]),
    ("for: {in: .x, at: context}\ndo: []", [("/for/at", "invalid", 4, 19)]),
    ("for: {in: [1]}\ndo: []", [("/for/in", "wrong-type", 4, 11)]),
    ("fork: {}", [("/fork", "missing", 4, 5)]),
    ("fork: {branches: []}", [("/fork/branches", "invalid", 4, 12)]),
    ("fork: {branches: [{a: {wait: PT1S}}], compete: 1}", [("/fork/compete", "wrong-type", 4, 43)]),
    (
        "fork: {branches: [{a: {wait: PT1S, then: b}}, {b: {wait: PT1S}}]}",
        [("/fork/branches/0/a/then", "unknown-then", 4, 40)],
    ),
    ("for: {in: .x}\ndo: []\nwhile: .y\nparallel: {}", [("/while", "unsupported", 6, 5)]),
    ("for: {in: .x}\ndo: []\nparallel: 5", [("/parallel", "wrong-type", 6, 5)]),
    ("for: {in: .x}\ndo: []\nparallel: {limit: 0}", [("/parallel/limit", "invalid", 6, 16)]),
    ("for: {in: .x}\ndo: []\nparallel: {limit: ten}", [("/parallel/limit", "wrong-type", 6, 16)]),
    ("for: {in: .x}\ndo: []\nparallel: {most: 1}", [("/parallel/most", "unknown-keyword", 6, 16)]),
    ("for: {in: .x}\ndo: []\nparallel: {completion: some}", [("/parallel/completion", "invalid", 6, 16)]),
    ("for: {in: .x}\ndo: []\nparallel: {completion: {}}", [("/parallel/completion", "missing", 6, 16)]),
    (
        "for: {in: .x}\ndo: []\nparallel: {completion: {at_least: 0}, tolerate: none}",
        [("/parallel/completion/at_least", "invalid", 6, 29), ("/parallel/tolerate", "wrong-type", 6, 43)],
    ),
    (
        "fork: {branches: [{a: {wait: PT1S}}]}\nparallel: {completion: {at_least: 2}, tolerate: 3}",
        [("/parallel/completion/at_least", "invalid", 5, 29), ("/parallel/tolerate", "invalid", 5, 43)],
    ),
    (
        "fork: {branches: [{a: {wait: PT1S}}], compete: true}\nparallel: {completion: first}",
        [("/parallel/completion", "unsupported", 5, 16)],
    ),
    ("do: []\nparallel: {}", [("/parallel", "unknown-keyword", 5, 5)]),
    ("for: {in: .x}\ndo: [{a: {call: f, pivot: true}}]\nparallel: {}", [("/do/0/a/pivot", "misplaced-pivot", 5, 24)]),
    ("try: []", [("", "missing", 3, 3)]),
    ("try: []\ncatch: {retry: nobody}", [("/catch/retry", "unknown-reference", 5, 13)]),
    ("try: []\ncatch: {errors: {with: {}}}", [("/catch/errors/with", "missing", 5, 22)]),
    ("try: []\ncatch: {errors: {with: {status: '4'}}}", [("/catch/errors/with/status", "wrong-type", 5, 29)]),
    ("try: []\ncatch: {errors: {with: {code: 4}}}", [("/catch/errors/with/code", "unknown-keyword", 5, 29)]),
    ("try: []\ncatch: {as: $e}", [("/catch/as", "invalid", 5, 13)]),
    ("try: []\ncatch: {then: nowhere}", [("/catch/then", "unknown-then", 5, 13)]),
    # policies
    ("wait: PT1S\ntimeout: nobody", [("/timeout", "unknown-reference", 5, 5)]),
    ("wait: PT1S\ntimeout: {}", [("/timeout", "missing", 5, 5)]),
    ("wait: PT1S\ntimeout: {after: 5}", [("/timeout/after", "wrong-type", 5, 15)]),
    ("call: f\nretry: {backoff: {}}", [("/retry/backoff", "invalid", 5, 13)]),
    ("call: f\nretry: {backoff: {linear: {}, constant: {}}}", [("/retry/backoff", "invalid", 5, 13)]),
    ("call: f\nretry: {backoff: {linear: {step: 1}}}", [("/retry/backoff/linear/step", "unknown-keyword", 5, 32)]),
    (
        "call: f\nretry: {backoff: {exponential: {factor: 0}}}",
        [("/retry/backoff/exponential/factor", "invalid", 5, 37)],
    ),
    ("call: f\nretry: {limit: {attempt: {count: -1}}}", [("/retry/limit/attempt/count", "invalid", 5, 31)]),
    ("call: f\nretry: {limit: {count: 1}}", [("/retry/limit/count", "unknown-keyword", 5, 21)]),
    ("call: f\nretry: {jitter: {from: PT1S}}", [("/retry/jitter", "missing", 5, 13)]),
    ("call: f\nretry: {jitter: {from: PT2S, to: PT1S}}", [("/retry/jitter/from", "invalid", 5, 22)]),
    # calls
    ("call: 1", [("/call", "wrong-type", 4, 5)]),
    ("call: ''", [("/call", "invalid", 4, 5)]),
    ("call: grpc\nwith: {}", [("/call", "unsupported", 4, 5)]),
    ("call: asyncapi\nwith: {}", [("/call", "unsupported", 4, 5)]),
    ("call: a2a\nwith: {}", [("/call", "unsupported", 4, 5)]),
    ("call: mcp\nwith: {}", [("/call", "unsupported", 4, 5)]),
    ("call: https://a.test/f.yaml", [("/call", "unsupported", 4, 5)]),
    ("call: log:1.0.0@global", [("/call", "unsupported", 4, 5)]),
    ("call: ${ .f }", [("/call", "unsupported", 4, 5)]),
    ("call: f\nwith: [1]", [("/with", "wrong-type", 5, 5)]),
    ("call: f\nidempotent: 0", [("/idempotent", "wrong-type", 5, 5)]),
    ("call: f\ncallback: 1", [("/callback", "wrong-type", 5, 5)]),
    ("call: f\ncallback: true", [("/callback", "missing", 5, 5)]),
    ("call: f\nwith: {to: '${ .callback }'}\ncallback: true", [("/callback", "missing", 6, 5)]),
    ("call: http", [("", "missing", 3, 3)]),
    ("call: http\nwith: {}", [("/with", "missing", 5, 5), ("/with", "missing", 5, 5)]),
    ("call: http\nwith: {method: 1, endpoint: 'http://a'}", [("/with/method", "wrong-type", 5, 12)]),
    (
        "call: http\nwith:\n  method: post\n  endpoint: http://a\n  headers: {Content-Type: multipart/form-data}\n  body: [1]",
        [("/with/body", "wrong-type", 9, 7)],
    ),
    (
        (
            "call: http\nwith:\n  method: post\n  endpoint: http://a\n  headers: {Content-Type: multipart/form-data}\n"
            "  body: {a: {b: 1}, c: {content: x, content_base64: eA==}, d: 1, e: '${ .e }', f: {digest: d}}"
        ),
        [
            ("/with/body/a", "wrong-type", 9, 14),
            ("/with/body/a/b", "unknown-keyword", 9, 18),
            ("/with/body/c", "wrong-type", 9, 25),
        ],
    ),
    ("call: http\nwith: {method: get, endpoint: a.test}", [("/with/endpoint", "invalid", 5, 25)]),
    ("call: http\nwith: {method: get, endpoint: 'file:///a'}", [("/with/endpoint", "invalid", 5, 25)]),
    ("call: http\nwith: {method: get, endpoint: {}}", [("/with/endpoint", "missing", 5, 25)]),
    ("call: http\nwith: {method: get, endpoint: 'http://a', headers: 1}", [("/with/headers", "wrong-type", 5, 47)]),
    (
        "call: http\nwith: {method: get, endpoint: 'http://a', query: {a: [1]}}",
        [("/with/query/a", "wrong-type", 5, 55)],
    ),
    ("call: http\nwith: {method: get, endpoint: 'http://a', output: all}", [("/with/output", "invalid", 5, 47)]),
    ("call: http\nwith: {method: get, endpoint: 'http://a', redirect: 1}", [("/with/redirect", "wrong-type", 5, 47)]),
    ("call: http\nwith: {method: get, endpoint: 'http://a', cookie: 1}", [("/with/cookie", "unknown-keyword", 5, 47)]),
    ("call: openapi\nwith: {document: {endpoint: 'http://a'}}", [("/with", "missing", 5, 5)]),
    ("call: openapi\nwith: {document: {}, operationId: a}", [("/with/document", "missing", 5, 12)]),
    (
        "call: openapi\nwith: {document: {endpoint: 'http://a'}, operationId: a, parameters: 1}",
        [("/with/parameters", "wrong-type", 5, 62)],
    ),
    # run
    ("run: {}", [("/run", "missing", 4, 5)]),
    ("run: {container: {image: x}}", [("/run/container", "unsupported", 4, 11)]),
    ("run: {script: {}}", [("/run/script", "unsupported", 4, 11)]),
    ("run: {shell: {}}", [("/run/shell", "unsupported", 4, 11)]),
    ("run: {workflow: {namespace: a, name: b}, return: none}", [("/run/return", "unsupported", 4, 46)]),
    ("run: {workflow: {name: b}}", [("/run/workflow", "missing", 4, 11)]),
    ("run: {workflow: {namespace: a, name: b_c}}", [("/run/workflow/name", "invalid", 4, 36)]),
    ("run: {workflow: {namespace: a, name: b, version: '1'}}", [("/run/workflow/version", "invalid", 4, 45)]),
    ("run: {workflow: {namespace: a, name: b}, await: no}", [("/run/await", "wrong-type", 4, 46)]),
    # events
    ("emit: {}", [("/emit", "missing", 4, 5)]),
    ("emit: {event: {with: {type: a}}}", [("/emit/event/with", "missing", 4, 20)]),
    ("emit: {event: {with: {type: a, source: 'http://a', A_b: 1}}}", [("/emit/event/with/A_b", "invalid", 4, 56)]),
    ("listen: {}", [("/listen", "missing", 4, 5)]),
    ("listen: {to: {}}", [("/listen/to", "invalid", 4, 14)]),
    ("listen: {to: {one: {with: {type: a}}, any: []}}", [("/listen/to", "invalid", 4, 14)]),
    ("listen: {to: {one: {}}}", [("/listen/to/one", "missing", 4, 19)]),
    ("listen: {to: {one: {with: {}}}}", [("/listen/to/one/with", "missing", 4, 25)]),
    ("listen: {to: {all: []}}", [("/listen/to/all", "invalid", 4, 19)]),
    ("listen: {to: {any: []}, read: all}", [("/listen/read", "invalid", 4, 29)]),
    ("listen: {to: {one: {with: {type: a}}, until: .x}}", [("/listen/to/until", "invalid", 4, 43)]),
    (
        "listen: {to: {any: [], until: {any: [], until: .x}}}",
        [("/listen/to/until/until", "unknown-keyword", 4, 45)],
    ),
    (
        "listen: {to: {one: {with: {type: a}, correlate: {x: {}}}}}",
        [("/listen/to/one/correlate/x", "missing", 4, 54)],
    ),
    (
        "listen: {to: {one: {with: {data: {a: '${ .x }'}}}}}",
        [("/listen/to/one/with/data", "unsupported", 4, 32)],
    ),
    (
        "listen: {to: {any: []}}\nforeach: {output: {schema: {document: {}}}}",
        [("/foreach/output/schema", "unsupported", 5, 24)],
    ),
    # undoing
    ("set: {a: 1}\ncompensate: {}", [("/compensate", "missing", 5, 5)]),
    ("set: {a: 1}\ncompensate: {call: f, after: never}", [("/compensate/after", "invalid", 5, 27)]),
    ("set: {a: 1}\ncompensate: {call: f, then: exit}", [("/compensate/then", "unknown-keyword", 5, 27)]),
    (
        "set: {a: 1}\ncompensate: {call: f, compensate: {call: g}}",
        [("/compensate/compensate", "nested-compensate", 5, 27)],
    ),
    (
        "set: {a: 1}\ncompensate: {do: [{x: {call: f, compensate: {call: g}}}]}",
        [("/compensate/do/0/x/compensate", "nested-compensate", 5, 37)],
    ),
    (
        "set: {a: 1}\ncompensate: {try: [], catch: {compensate: true}}",
        [("/compensate/catch/compensate", "nested-compensate", 5, 35)],
    ),
    (
        "set: {a: 1}\ncompensate: {do: [{x: {call: f, then: end}}]}",
        [("/compensate/do/0/x/then", "unsupported", 5, 37)],
    ),
    ("set: {a: 1}\ncompensate: {call: f, pivot: true}", [("/compensate/pivot", "misplaced-pivot", 5, 27)]),
    (
        "fork: {branches: [{a: {do: [{b: {call: f, pivot: true}}]}}]}",
        [("/fork/branches/0/a/do/0/b/pivot", "misplaced-pivot", 4, 47)],
    ),
    ("for: {in: .x}\ndo: [{b: {call: f, pivot: true}}]", [("/do/0/b/pivot", "misplaced-pivot", 5, 24)]),
    ("try: []\ncatch: {do: [{b: {call: f, pivot: true}}]}", [("/catch/do/0/b/pivot", "misplaced-pivot", 5, 32)]),
    (
        "listen: {to: {any: []}}\nforeach: {do: [{b: {call: f, pivot: true}}]}",
        [("/foreach/do/0/b/pivot", "misplaced-pivot", 5, 34)],
    ),
    # secrets
    ("set: {a: '${ $secrets.x }'}", [("/set/a", "secret-not-allowed", 4, 11)]),
    ("set: {a: 1}\noutput: {as: $secrets.x}", [("/output/as", "secret-not-allowed", 5, 14)]),
    (
        "emit: {event: {with: {type: a, source: 'http://a', data: '${ $secrets }'}}}",
        [("/emit/event/with/data", "secret-not-allowed", 4, 56)],
    ),
    ("call: f\nwith: {a: '${ $secrets.x }'}", [("/with/a", "unknown-reference", 5, 12)]),
]


@pytest.mark.parametrize(("text", "problems"), TASKS, ids=[text for text, _ in TASKS])
def test_refused_task(text, problems):
    assert in_task(text) == [("/do/0/t" + pointer, *rest) for pointer, *rest in problems]


AUTHENTICATIONS = [
    ("{}", "", "invalid"),
    ("{use: nobody}", "/use", "unknown-reference"),
    ("{basic: {username: a}}", "/basic", "missing"),
    ("{bearer: {token: 1}}", "/bearer/token", "wrong-type"),
    ("{bearer: {use: nobody}}", "/bearer/use", "unknown-reference"),
    ("{bearer: {use: mine, token: a}}", "/bearer/token", "unknown-keyword"),
    ("{bearer: {token: '${ $secrets.other }'}}", "/bearer/token", "unknown-reference"),
    ("{basic: {use: mine}, bearer: {use: mine}}", "", "invalid"),
    ("{certificate: {}}", "/certificate", "unsupported"),
    ("{oauth2: {authority: a}}", "/oauth2", "missing"),
    ("{oauth2: {authority: a, grant: please}}", "/oauth2/grant", "invalid"),
    ("{oidc: {authority: a, grant: password, client: {key: 1}}}", "/oidc/client/key", "unknown-keyword"),
    ("{oidc: {authority: a, grant: password, endpoints: {}}}", "/oidc/endpoints", "unknown-keyword"),
]


@pytest.mark.parametrize(("policy", "pointer", "code"), AUTHENTICATIONS)
def test_refused_authentication(policy, pointer, code):
    call = f"- t: {{call: http, with: {{method: get, endpoint: {{uri: 'http://a', authentication: {policy}}}}}}}\n"
    problems = refused(HEAD + "use: {secrets: [mine]}\ndo:\n" + call)
    assert [found[:2] for found in problems] == [("/do/0/t/with/endpoint/authentication" + pointer, code)]


# --- the whole definition --------------------------------------------------------------------------------------------

WHOLE = [
    ("[]", [("", "wrong-type", 1, 1)]),
    ("", [("", "wrong-type", 1, 1)]),
    ("{}", [("", "missing", 1, 1), ("", "missing", 1, 1)]),
    (HEAD + "do: []\nbogus: 1\n", [("/bogus", "unknown-keyword", 3, 1)]),
    (HEAD + "do: []\nschedule: {on: {all: [{with: {type: a}}]}}\n", [("/schedule/on/all", "unsupported", 3, 17)]),
    (HEAD + "do: []\nstreams: []\n", [("/streams", "wrong-type", 3, 1)]),
    (HEAD + "do: []\nstreams: {1a: {with: {type: a}}}\n", [("/streams/1a", "invalid", 3, 11)]),
    (HEAD + "do: []\nstreams: {a: {with: {}, x: 1}}\n", [
        ("/streams/a/with", "missing", 3, 15), ("/streams/a/x", "unknown-keyword", 3, 25)]),
    (HEAD + "do: []\nstreams: {a: {order: {by: 3, from: x, per: 1, of: 1}}}\n", [
        ("/streams/a", "missing", 3, 11), ("/streams/a/order/by", "wrong-type", 3, 23),
        ("/streams/a/order/from", "wrong-type", 3, 30), ("/streams/a/order/per", "wrong-type", 3, 39),
        ("/streams/a/order/of", "unknown-keyword", 3, 47)]),
    (HEAD + "do: []\nstreams: {a: {with: {type: a}, order: {by: Sequence, from: 1.5}}}\n", [
        ("/streams/a/order/by", "invalid", 3, 40), ("/streams/a/order/from", "wrong-type", 3, 54)]),
    (HEAD + "do: []\nstreams: {a: {with: {type: a}, gap: {after: '${ .x }', then: wait}}}\n", [
        ("/streams/a/gap/after", "unsupported", 3, 38), ("/streams/a/gap/then", "invalid", 3, 56)]),
    (HEAD + "do: []\nstreams: {a: {with: {type: a}, gap: {then: fault}}}\n", [("/streams/a/gap", "missing", 3, 32)]),
    (HEAD + "do: []\nstreams: {a: {with: {Type: a}, order: {by: '${ $secrets.x }'}}}\n", [
        ("/streams/a/with/Type", "invalid", 3, 22), ("/streams/a/order/by", "secret-not-allowed", 3, 40)]),
    (
        HEAD + "do: []\nschedule: {on: {one: {with: {type: a}, correlate: {x: {from: .x}}}}}\n",
        [("/schedule/on/one/correlate", "unsupported", 3, 40)],
    ),
    (
        HEAD + "do: []\nschedule: {on: {any: [{with: {type: a}}, {with: {type: '${ .a }'}}]}}\n",
        [("/schedule/on/any/1/with/type", "unsupported", 3, 50)],
    ),
    (HEAD + "do: {}\n", [("/do", "wrong-type", 2, 1)]),
    (HEAD + "do: []\nuse: {extensions: []}\n", [("/use/extensions", "unsupported", 3, 7)]),
    (HEAD + "do: []\nuse: {catalogs: {}}\n", [("/use/catalogs", "unsupported", 3, 7)]),
    (HEAD + "do: []\nuse: {secrets: [1]}\n", [("/use/secrets/0", "wrong-type", 3, 17)]),
    (HEAD + "do: []\nuse: {retries: {a: {delay: x}}}\n", [("/use/retries/a/delay", "invalid", 3, 21)]),
    (HEAD + "do: []\nuse: {timeouts: {a: {}}}\n", [("/use/timeouts/a", "missing", 3, 18)]),
    (HEAD + "do: []\nuse: {errors: {a: {status: 400}}}\n", [("/use/errors/a", "missing", 3, 16)]),
    (HEAD + "do: []\nuse: {authentications: {a: {use: b}}}\n", [
        ("/use/authentications/a", "invalid", 3, 25), ("/use/authentications/a/use", "unknown-keyword", 3, 29)]),
    (HEAD + "do: []\nuse: {functions: {http: {set: {a: 1}}}}\n", [("/use/functions/http", "invalid", 3, 19)]),
    (HEAD + "do: []\nuse: {functions: {f: {bogus: 1}}}\n", [
        ("/use/functions/f", "missing", 3, 19), ("/use/functions/f/bogus", "unknown-keyword", 3, 23)]),
    (HEAD + "do: []\nevaluate: {language: javascript}\n", [("/evaluate/language", "unsupported", 3, 12)]),
    (HEAD + "do: []\nevaluate: {mode: lax}\n", [("/evaluate/mode", "invalid", 3, 12)]),
    (HEAD + "do: []\ntimeout: nobody\n", [("/timeout", "unknown-reference", 3, 1)]),
    (HEAD + "do: []\ncompensation: {order: random}\n", [("/compensation/order", "invalid", 3, 16)]),
    (HEAD + "do: []\ncompensation: {retry: nobody}\n", [("/compensation/retry", "unknown-reference", 3, 16)]),
    (HEAD + "do: []\nresource: {}\n", [("/resource", "missing", 3, 1)]),
    (HEAD + "do: []\nresource: {path: a/b}\n", [("/resource/path", "invalid", 3, 12)]),
    (HEAD + "do: []\nresource: {path: v1}\n", [("/resource/path", "invalid", 3, 12)]),
    (HEAD + "do: []\nresource: {path: readyz}\n", [("/resource/path", "invalid", 3, 12)]),
    (HEAD + "do: []\nresource: {path: a, labels: {done: x}}\n", [("/resource/labels/done", "unknown-keyword", 3, 30)]),
    ("document: {dsl: 1.0, namespace: n, name: d, version: 1}\ndo: []\n", [
        ("/document/dsl", "wrong-type", 1, 12), ("/document/version", "wrong-type", 1, 45)]),
    ("document: {dsl: 1.1.0, namespace: n_m, name: -d, version: v1}\ndo: []\n", [
        ("/document/dsl", "unsupported", 1, 12), ("/document/namespace", "invalid", 1, 24),
        ("/document/name", "invalid", 1, 40), ("/document/version", "invalid", 1, 50)]),
    ("document: {dsl: 1.0.0, namespace: n, name: d, version: 1.0.0, tags: a, x: 1}\ndo: []\n", [
        ("/document/tags", "wrong-type", 1, 63), ("/document/x", "unknown-keyword", 1, 72)]),
]  # fmt: skip


@pytest.mark.parametrize(("text", "problems"), WHOLE, ids=[text.removeprefix(HEAD) for text, _ in WHOLE])
def test_refused_definition(text, problems):
    assert refused(text) == problems


def test_every_problem_is_told_at_once_in_the_order_of_the_text():
    text = HEAD + "do:\n- a: {bogus: 1}\n- b: {wait: P1Y}\n- a: {set: {x: 1}, then: c}\ntimeout: nobody\n"
    assert [(pointer, line) for pointer, _, line, _ in refused(text)] == [
        ("/do/0/a", 3),
        ("/do/0/a/bogus", 3),
        ("/do/1/b/wait", 4),
        ("/do/2/a", 5),
        ("/do/2/a/then", 5),
        ("/timeout", 6),
    ]


def test_a_message_names_the_keyword():
    with pytest.raises(InvalidDefinitionError) as caught:
        read_definition(HEAD + "do:\n- t: {call: grpc, with: {}}\n", "application/yaml")
    assert "grpc" in caught.value.problems[0].detail


def test_functions_that_call_each_other_are_refused():
    text = HEAD + "use: {functions: {f: {call: g}, g: {call: f}}}\ndo: [{t: {call: f}}]\n"
    assert [(pointer, code) for pointer, code, *_ in refused(text)] == [("/use/functions/g/call", "recursive-function")]


def test_a_pivot_in_a_function_is_refused_where_the_function_is_called_inside_a_fork():
    text = HEAD + "use: {functions: {f: {call: g, pivot: true}}}\ndo: [{t: {fork: {branches: [{b: {call: f}}]}}}]\n"
    assert [(pointer, code) for pointer, code, *_ in refused(text)] == [("/use/functions/f/pivot", "misplaced-pivot")]


@pytest.mark.parametrize("keyword", ["retry: {}", "idempotent: false"])
def test_a_call_of_a_defined_function_has_no_retry_of_its_own(keyword):
    text = HEAD + f"use: {{functions: {{f: {{call: g}}}}}}\ndo: [{{t: {{call: f, {keyword}}}}}]\n"
    assert [(pointer, code) for pointer, code, *_ in refused(text)] == [
        (f"/do/0/t/{keyword.partition(':')[0]}", "unsupported")
    ]


def test_functions_that_double_at_each_level_are_too_large():
    functions = ", ".join(f"f{n}: {{do: [{{a: {{call: f{n + 1}}}}}, {{b: {{call: f{n + 1}}}}}]}}" for n in range(20))
    text = HEAD + f"use: {{functions: {{{functions}, f20: {{set: {{x: 1}}}}}}}}\ndo: [{{t: {{call: f0}}}}]\n"
    assert [(pointer, code) for pointer, code, *_ in refused(text)] == [("/do", "too-large")]


def test_a_long_chain_of_functions_is_too_deep():
    functions = ", ".join(f"f{n}: {{call: f{n + 1}}}" for n in range(2_000))
    text = HEAD + f"use: {{functions: {{{functions}, f2000: {{set: {{x: 1}}}}}}}}\ndo: [{{t: {{call: f0}}}}]\n"
    assert ("/use/functions/f48", "too-deep") in [(pointer, code) for pointer, code, *_ in refused(text)]


def test_one_task_more_than_the_limit_is_too_large():
    document = {"dsl": "1.0.3", "namespace": "n", "name": "d", "version": "1.0.0"}
    tasks = [{f"t{n}": {"set": {"x": 1}}} for n in range(MAX_TASKS)]
    plan, _ = compile_plan({"document": document, "do": tasks}, "sha256:0")
    assert len(plan.nodes) == MAX_TASKS
    with pytest.raises(InvalidDefinitionError) as caught:
        compile_plan({"document": document, "do": [*tasks, {"last": {"set": {"x": 1}}}]}, "sha256:0")
    assert [(problem.pointer, problem.code) for problem in caught.value.problems] == [("/do", "too-large")]


def test_data_that_no_reader_would_give_is_a_problem():
    deep: dict[str, Any] = {}
    current = deep
    for _ in range(5_000):
        current["do"] = current = {}
    for value, code in ((deep, "too-deep"), ({1: 2}, "non-string-key")):
        with pytest.raises(InvalidDefinitionError) as caught:
            compile_plan(value, "sha256:0")
        assert [problem.code for problem in caught.value.problems] == [code]
