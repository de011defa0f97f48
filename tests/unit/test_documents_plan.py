"""What documents compile to: the plan of language.md's example, and each construct in the small."""

from __future__ import annotations

import textwrap
from typing import Any

import pytest

from adapters.documents import digest, expressions_of, read_definition, schemas_of
from adapters.documents.inspection import children_of, functions_of
from domain.expressions import parse
from domain.plan import (
    END,
    EXIT,
    Call,
    Case,
    Do,
    Duration,
    Emit,
    For,
    Fork,
    Hole,
    Listen,
    Raise,
    Resource,
    Retry,
    Run,
    Schema,
    Set,
    Switch,
    Template,
    Try,
    Wait,
)

HEAD = "document: {dsl: 1.0.3, namespace: n, name: d, version: 1.0.0}\n"
TRIP = r"""
document: {dsl: '1.0.3', namespace: travel, name: trip-booking, version: '1.0.0'}
resource:
  path: trips
  labels: {running: Pending, completed: Booked, compensated: Rejected}
compensation:
  order: parallel
  retry: {delay: {seconds: 1}, backoff: {exponential: {}}, limit: {attempt: {count: 7}}}
do:
  - reserveCar:
      call: http
      with:
        method: put
        endpoint: ${ "http://car.test/reservations/\($workflow.id)" }
        body: {city: '${ $workflow.input.city }', seats: 4}
      retry: {delay: {milliseconds: 200}, limit: {attempt: {count: 3}}}
      timeout: {after: {seconds: 5}}
      compensate:
        call: http
        with: {method: delete, endpoint: 'http://car.test/reservations/{id}'}
  - bookHotel:
      call: bookHotel
      with: {city: '${ $workflow.input.city }'}
      idempotent: false
      compensate:
        after: completed
        if: ${ .refundable }
        call: cancelHotel
        with: {booking: '${ .id }'}
  - pay:
      call: charge
      pivot: true
"""


def plan_of(text) -> Any:
    return read_definition(text, "application/yaml").plan


def plan_of_tasks(text, head=HEAD) -> Any:
    return plan_of(head + "do:\n" + textwrap.indent(textwrap.dedent(text).strip("\n"), "  ") + "\n")


def work_of(text, head=HEAD) -> Any:
    return (
        plan_of_tasks("- t:\n" + textwrap.indent(textwrap.dedent(text).strip("\n"), "    "), head).nodes["/do/0/t"].work
    )


def test_the_plan_of_the_trip():
    plan = plan_of(TRIP)
    assert plan.reference == "travel/trip-booking@1.0.0"
    assert plan.digest == digest(plan.document)
    assert plan.resource == Resource("trips", {"running": "Pending", "completed": "Booked", "compensated": "Rejected"})
    assert plan.parallel_undo
    assert (plan.root.pointer, plan.root.start) == ("/do", "/do/0/reserveCar")
    assert list(plan.nodes) == [
        "/do/0/reserveCar",
        "/do/0/reserveCar/compensate",
        "/do/1/bookHotel",
        "/do/1/bookHotel/compensate",
        "/do/2/pay",
    ]
    car, undo_car, hotel, undo_hotel, pay = plan.nodes.values()
    assert (car.name, car.kind, car.then, car.timeout) == ("reserveCar", "call", "/do/1/bookHotel", Duration(5.0))
    assert car.work == Call(
        kind="http",
        function="http",
        with_=Template(
            {"method": "put", "endpoint": None, "body": {"city": None, "seats": 4}},
            (
                Hole(("endpoint",), parse(r'"http://car.test/reservations/\($workflow.id)"')),
                Hole(("body", "city"), parse("$workflow.input.city")),
            ),
        ),
        retry=Retry(on="transient", delay=Duration(0.2), max_retries=3),
    )
    undo_retry = Retry(on="doubt", delay=Duration(1.0), backoff="exponential", max_retries=7)
    scope = car.compensate.scope
    assert (scope.pointer, scope.start, scope.nodes) == (
        undo_car.pointer,
        undo_car.pointer,
        {undo_car.pointer: undo_car},
    )
    assert (undo_car.name, undo_car.then, undo_car.if_, undo_car.work.retry) == ("compensate", EXIT, None, undo_retry)
    assert undo_car.work.deletes
    assert (car.compensate.after, car.compensate.if_) == ("uncertain", None)
    assert not hotel.work.idempotent
    assert (hotel.compensate.after, hotel.compensate.if_) == ("completed", parse(".refundable"))
    assert (undo_hotel.work.function, undo_hotel.if_) == ("cancelHotel", None)
    assert (pay.pivot, pay.then, pay.work) == (True, EXIT, Call("function", "charge", Template({})))


def test_json_and_yaml_give_the_same_plan():
    text = '{"do": [{"t": {"set": {"x": "${ .a }"}}}], "document": {"dsl": "1.0.3", "namespace": "n", "name": "d", '
    text += '"version": "1.0.0"}}'
    assert read_definition(text, "application/json").plan == plan_of_tasks("- t: {set: {x: '${ .a }'}}")


# --- edges -----------------------------------------------------------------------------------------------------------


def test_edges():
    plan = plan_of_tasks("""
        - a: {set: {x: 1}}
        - b: {set: {x: 1}, then: continue}
        - c: {set: {x: 1}, then: a}
        - d: {set: {x: 1}, then: exit}
        - e: {set: {x: 1}, then: end}
        - f: {set: {x: 1}}
    """)
    assert [node.then for node in plan.nodes.values()] == ["/do/1/b", "/do/2/c", "/do/0/a", EXIT, END, EXIT]


def test_a_task_that_is_skipped_is_followed_by_the_next_in_line():
    plan = plan_of_tasks("""
        - a: {if: .x, raise: {error: {type: 'http://a/b', status: 400}}, then: end}
        - b: {if: .x, set: {x: 1}}
    """)
    assert [(node.then, node.skip_to) for node in plan.nodes.values()] == [(END, "/do/1/b"), (EXIT, None)]


def test_names_are_escaped_in_pointers_and_found_by_then():
    plan = plan_of_tasks("- a/b~c: {set: {x: 1}, then: d/e}\n- d/e: {set: {x: 1}}")
    assert plan.nodes["/do/0/a~1b~0c"].then == "/do/1/d~1e"
    assert plan.nodes["/do/0/a~1b~0c"].name == "a/b~c"


def test_a_definition_without_tasks():
    assert plan_of(HEAD + "do: []\n").root.start is None


def test_scopes_and_pointers_of_composites():
    plan = plan_of_tasks("""
        - d: {do: [{x: {set: {a: 1}}}, {y: {set: {a: 1}, then: x}}]}
        - f: {fork: {branches: [{p: {set: {a: 1}}}, {q: {do: [{r: {wait: PT1S}}]}}]}}
        - l: {for: {in: .items, each: pet, at: i}, while: .go, do: [{x: {set: {a: 1}}}]}
        - t:
            try: [{g: {set: {a: 1}}}]
            catch: {do: [{x: {set: {a: 1}}}], then: d}
        - e: {listen: {to: {any: []}}, foreach: {item: event, do: [{x: {set: {a: 1}}}]}}
        - c: {set: {a: 1}, compensate: {do: [{x: {call: undo}}]}}
    """)
    assert list(plan.nodes) == [
        "/do/0/d",
        "/do/0/d/do/0/x",
        "/do/0/d/do/1/y",
        "/do/1/f",
        "/do/1/f/fork/branches/0/p",
        "/do/1/f/fork/branches/1/q",
        "/do/1/f/fork/branches/1/q/do/0/r",
        "/do/2/l",
        "/do/2/l/do/0/x",
        "/do/3/t",
        "/do/3/t/try/0/g",
        "/do/3/t/catch/do/0/x",
        "/do/4/e",
        "/do/4/e/foreach/do/0/x",
        "/do/5/c",
        "/do/5/c/compensate",
        "/do/5/c/compensate/do/0/x",
    ]
    nodes = plan.nodes
    assert nodes["/do/0/d"].work.scope.pointer == "/do/0/d/do"
    assert nodes["/do/0/d/do/1/y"].then == "/do/0/d/do/0/x"
    fork = nodes["/do/1/f"].work
    assert isinstance(fork, Fork)
    assert [(branch.pointer, branch.start) for branch in fork.branches] == [
        ("/do/1/f/fork/branches/0", "/do/1/f/fork/branches/0/p"),
        ("/do/1/f/fork/branches/1", "/do/1/f/fork/branches/1/q"),
    ]
    loop = nodes["/do/2/l"].work
    assert isinstance(loop, For)
    assert (loop.in_, loop.each, loop.at, loop.while_) == (parse(".items"), "pet", "i", parse(".go"))
    guarded = nodes["/do/3/t"].work
    assert isinstance(guarded, Try)
    assert (guarded.catch.as_, guarded.catch.then, guarded.catch.retry) == ("error", "/do/0/d", None)
    assert nodes["/do/4/e"].work.item == "event"
    assert nodes["/do/5/c/compensate"].kind == "do"
    assert nodes["/do/5/c/compensate/do/0/x"].work.retry == Retry(
        on="doubt", delay=Duration(1.0), backoff="exponential", factor=2.0, max_delay_s=60.0, max_retries=10
    )


# --- data ------------------------------------------------------------------------------------------------------------


def test_expressions_by_definition_need_no_braces_and_others_do():
    node = plan_of_tasks("""
        - t:
            if: .a
            input: {from: .b}
            set: {x: .c, y: '${ .d }', z: ['${ .e }', {w: ' ${ .f } '}]}
            output: {as: '${ .g }'}
            export: {as: {h: '${ .i }', j: .k}}
    """).nodes["/do/0/t"]
    assert node.if_ == parse(".a")
    assert node.input_from == Template(None, (Hole((), parse(".b")),))
    assert node.work == Set(
        Template(
            {"x": ".c", "y": None, "z": [None, {"w": None}]},
            (Hole(("y",), parse(".d")), Hole(("z", 0), parse(".e")), Hole(("z", 1, "w"), parse(".f"))),
        )
    )
    assert node.output_as == Template(None, (Hole((), parse(".g")),))
    assert node.export_as == Template({"h": None, "j": ".k"}, (Hole(("h",), parse(".i")),))


def test_set_may_be_one_expression():
    assert work_of("set: ${ .a }") == Set(Template(None, (Hole((), parse(".a")),)))


def test_an_expression_inside_a_longer_string_is_literal_and_warned_of():
    definition = read_definition(HEAD + "do:\n- t: {set: {a: 'Hello ${ .name }!'}}\n", "application/yaml")
    assert definition.plan.nodes["/do/0/t"].work == Set(Template({"a": "Hello ${ .name }!"}))
    (warning,) = definition.warnings
    assert (warning.pointer, warning.code, warning.line, warning.column) == (
        "/do/0/t/set/a",
        "literal-expression",
        3,
        13,
    )


def test_loose_mode_is_warned_of():
    definition = read_definition(HEAD + "evaluate: {language: jq, mode: loose}\ndo: []\n", "application/yaml")
    assert [(warning.pointer, warning.code) for warning in definition.warnings] == [("/evaluate/mode", "loose-mode")]


def test_schemas_of_the_definition_and_of_tasks():
    plan = plan_of(
        HEAD + "input: {schema: {format: 'json:2020-12', document: {type: object}}, from: .x}\n"
        "output: {as: .y, schema: {document: true}}\n"
        "do:\n- t: {set: {a: 1}, export: {schema: {resource: {endpoint: 'http://a.test/s.json'}}}}\n"
    )
    assert plan.input_from == Template(None, (Hole((), parse(".x")),))
    assert schemas_of(plan) == [
        ("/input/schema", Schema(document={"type": "object"})),
        ("/output/schema", Schema(document=True)),
        ("/do/0/t/export/schema", Schema(resource={"endpoint": "http://a.test/s.json"})),
    ]


# --- policies --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("{days: 1, hours: 2, minutes: 3, seconds: 4, milliseconds: 500}", 93_784.5),
        ("{seconds: 0}", 0.0),
        ("PT30S", 30.0),
        ("P1DT2H3M4.5S", 93_784.5),
        ("P2W", 1_209_600.0),
        ("PT0.25S", 0.25),
    ],
)
def test_durations(text, seconds):
    assert work_of(f"wait: {text}") == Wait(Duration(seconds))


def test_a_duration_may_be_an_expression():
    assert work_of("wait: ${ .delay }") == Wait(Duration(expression=parse(".delay")))


def test_named_policies():
    head = HEAD + textwrap.dedent("""
        use:
          retries:
            often: {delay: PT1S, backoff: {linear: {}}, limit: {duration: PT1H, attempt: {count: 2, duration: PT9S}}}
          timeouts: {soon: {after: PT2S}}
          errors: {gone: {type: 'http://a/gone', status: 410, detail: '${ .why }'}}
        timeout: soon
    """)
    plan = plan_of_tasks(
        """
        - a: {call: f, retry: often, timeout: soon}
        - b: {raise: {error: gone}}
        - c: {try: [], catch: {retry: often, errors: {with: {type: 'http://a/b', details: '${ .x }'}}, when: .y}}
        - d: {set: {x: 1}, compensate: {call: g, retry: often}}
        """,
        head,
    )
    policy: dict[str, Any] = {
        "delay": Duration(1.0),
        "backoff": "linear",
        "max_retries": 2,
        "max_duration": Duration(3600.0),
        "attempt_timeout": Duration(9.0),
    }
    assert plan.timeout == plan.nodes["/do/0/a"].timeout == Duration(2.0)
    assert plan.nodes["/do/0/a"].work.retry == Retry(on="transient", **policy)
    gone = Template({"type": "http://a/gone", "status": 410, "detail": None}, (Hole(("detail",), parse(".why")),))
    assert plan.nodes["/do/1/b"].work == Raise(gone)
    catch = plan.nodes["/do/2/c"].work.catch
    assert catch.retry == Retry(on="caught", **policy)
    assert catch.errors == (
        ("type", Template("http://a/b")),
        ("detail", Template(None, (Hole((), parse(".x")),))),
    )
    assert catch.when == parse(".y")
    assert plan.nodes["/do/3/d/compensate"].work.retry == Retry(on="doubt", **policy)


def test_every_part_of_a_retry_policy():
    call = work_of("""
        call: f
        retry:
          when: .a
          exceptWhen: ${ .b }
          delay: ${ .c }
          backoff: {exponential: {factor: 3, maxDelay: PT20S}}
          jitter: {from: {seconds: 1}, to: {seconds: 2}}
    """)
    assert call.retry == Retry(
        on="transient",
        when=parse(".a"),
        except_when=parse(".b"),
        delay=Duration(expression=parse(".c")),
        backoff="exponential",
        factor=3.0,
        max_delay_s=20.0,
        jitter_from=Duration(1.0),
        jitter_to=Duration(2.0),
    )


# --- calls -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("method", "safe", "deletes"),
    [
        ("get", True, False),
        ("HEAD", True, False),
        ("Options", True, False),
        ("post", False, False),
        ("Delete", False, True),
        ("${ .method }", False, False),
    ],
)
def test_what_is_known_of_a_method(method, safe, deletes):
    call = work_of(f"call: http\nwith: {{method: '{method}', endpoint: 'http://a.test/{{id}}'}}")
    assert (call.safe, call.deletes) == (safe, deletes)


def test_an_openapi_call():
    call = work_of(
        "call: openapi\nwith: {document: {endpoint: 'http://a/o.json'}, operationId: f, parameters: {x: '${ .x }'}}"
    )
    assert call == Call(
        "openapi",
        "openapi",
        Template(
            {"document": {"endpoint": "http://a/o.json"}, "operationId": "f", "parameters": {"x": None}},
            (Hole(("parameters", "x"), parse(".x")),),
        ),
    )


def test_authentications_are_put_in_place_of_their_names():
    head = HEAD + textwrap.dedent("""
        use:
          secrets: [vault, s2]
          authentications: {mine: {bearer: {token: '${ $secrets.vault }'}}, other: {basic: {use: s2}}}
    """)
    plan = plan_of_tasks(
        """
        - a:
            call: http
            with: {method: get, endpoint: {uri: '${ .u }', authentication: {use: mine}}, query: {k: '${ .q }'}}
        - b:
            call: openapi
            with:
              document: {endpoint: {uri: 'http://a', authentication: {use: other}}}
              operationId: f
              authentication: {use: mine}
        """,
        head,
    )
    assert plan.secrets == ("s2", "vault")
    assert plan.nodes["/do/0/a"].work.with_ == Template(
        {
            "method": "get",
            "endpoint": {"uri": None, "authentication": {"bearer": {"token": None}}},
            "query": {"k": None},
        },
        (
            Hole(("endpoint", "uri"), parse(".u")),
            Hole(("query", "k"), parse(".q")),
            Hole(("endpoint", "authentication", "bearer", "token"), parse("$secrets.vault")),
        ),
    )
    assert plan.nodes["/do/1/b"].work.with_ == Template(
        {
            "document": {"endpoint": {"uri": "http://a", "authentication": {"basic": {"use": "s2"}}}},
            "operationId": "f",
            "authentication": {"bearer": {"token": None}},
        },
        (Hole(("authentication", "bearer", "token"), parse("$secrets.vault")),),
    )


def test_secrets_in_the_arguments_of_a_callout():
    call = work_of("call: f\nwith: {key: '${ $secrets[\"a-b\"] }'}", HEAD + "use: {secrets: [a-b]}\n")
    assert call.with_.holes[0].expression.reads_secrets


def test_a_defined_function_becomes_a_scope_for_each_caller():
    head = HEAD + "use: {functions: {f: {input: {from: .x}, call: g}, h/i: {do: [{a: {call: f}}]}}}\n"
    plan = plan_of_tasks("- p: {call: f, with: {x: '${ .y }'}}\n- q: {call: h/i, compensate: {call: f}}", head)
    assert list(plan.nodes) == [
        "/do/0/p",
        "/do/0/p/call/f",
        "/do/1/q",
        "/do/1/q/call/h~1i",
        "/do/1/q/call/h~1i/do/0/a",
        "/do/1/q/call/h~1i/do/0/a/call/f",
        "/do/1/q/compensate",
        "/do/1/q/compensate/call/f",
    ]
    work = plan.nodes["/do/0/p"].work
    assert isinstance(work, Do)
    assert work.arguments == Template({"x": None}, (Hole(("x",), parse(".y")),))
    assert (work.scope.pointer, work.scope.start) == ("/do/0/p/call", "/do/0/p/call/f")
    function = plan.nodes["/do/0/p/call/f"]
    assert (function.name, function.then, function.work.retry) == ("f", EXIT, None)
    assert plan.nodes["/do/1/q"].work.arguments is None
    assert plan.nodes["/do/1/q/call/h~1i"].work.scope.pointer == "/do/1/q/call/h~1i/do"
    assert plan.nodes["/do/1/q/compensate/call/f"].work.retry.on == "doubt"
    assert [name for _, name in functions_of(plan)] == ["g", "g", "g"]


def test_a_child_orchestration():
    run = work_of("run: {workflow: {namespace: a, name: b, input: {x: '${ .x }'}}, await: false}\nretry: {}")
    assert run == Run(
        "a",
        "b",
        "latest",
        Template({"x": None}, (Hole(("x",), parse(".x")),)),
        await_=False,
        retry=Retry(on="transient"),
    )
    assert children_of(plan_of_tasks("- t: {run: {workflow: {namespace: a, name: b, version: 1.2.3}}}")) == [
        ("/do/0/t", Run("a", "b", "1.2.3"))
    ]


# --- events ----------------------------------------------------------------------------------------------------------


def test_emit():
    emit = work_of("emit: {event: {with: {source: 'http://a', type: t, tenant: '${ .t }', data: {x: 1}}}}")
    assert emit == Emit(
        Template(
            {"source": "http://a", "type": "t", "tenant": None, "data": {"x": 1}}, (Hole(("tenant",), parse(".t")),)
        )
    )


def test_listen():
    listen = work_of("""
        listen:
          to:
            any:
              - with: {type: a, data: '${ .x > 1 }'}
                correlate: {id: {from: .id, expect: '${ $input.id }'}, room: {from: .room}}
            until: {all: [{with: {type: b}}, {with: {type: c}}]}
          read: envelope
        foreach: {at: n, output: {as: .y}, export: {as: '.z'}}
    """)
    assert isinstance(listen, Listen)
    assert (listen.to.mode, listen.read, listen.item, listen.at, listen.scope) == ("any", "envelope", "item", "n", None)
    (matched,) = listen.to.filters
    assert matched.attributes == (("type", "a"), ("data", parse(".x > 1")))
    assert matched.event_type == "a"
    assert matched.correlate == (
        ("id", parse(".id"), Template(None, (Hole((), parse("$input.id")),))),
        ("room", parse(".room"), None),
    )
    assert listen.to.until_events is not None
    assert listen.to.until_events.mode == "all"
    assert [entry.event_type for entry in listen.to.until_events.filters] == ["b", "c"]
    assert listen.foreach_output == Template(None, (Hole((), parse(".y")),))
    assert listen.foreach_export == Template(None, (Hole((), parse(".z")),))


def test_listen_until_a_condition():
    assert work_of("listen: {to: {any: [], until: '( . | length ) > 3'}}").to.until == parse("( . | length ) > 3")


def test_switch():
    plan = plan_of_tasks("""
        - s: {switch: [{x: {when: .a, then: t}}, {y: {when: '${ .b }', then: exit}}, {z: {then: continue}}]}
        - r: {set: {x: 1}}
        - t: {set: {x: 1}}
    """)
    assert plan.nodes["/do/0/s"].work == Switch(
        (Case("x", parse(".a"), "/do/2/t"), Case("y", parse(".b"), EXIT), Case("z", None, "/do/1/r"))
    )


# --- what the application checks -------------------------------------------------------------------------------------


def test_expressions_with_the_variables_of_their_place():
    plan = plan_of_tasks("""
        - l:
            for: {in: .items, each: pet}
            while: .go
            do:
              - t:
                  try: [{c: {call: f, with: {a: '${ .arg }'}}}]
                  catch: {as: err, when: .caught, do: [{w: {wait: '${ .delay }'}}]}
                  compensate: {if: .asked, call: g, with: {b: '${ .undo }'}}
    """)
    found = {expression.program: (pointer, set(names)) for pointer, expression, names in expressions_of(plan)}
    everywhere = {"context", "input", "output", "outputs", "task", "workflow", "runtime"}
    task = "/do/0/l/do/0/t"
    assert found == {
        ".items": ("/do/0/l/for/in", everywhere),
        ".go": ("/do/0/l/while", everywhere | {"pet", "index"}),
        ".arg": (f"{task}/try/0/c/with/a", everywhere | {"pet", "index", "secrets"}),
        ".caught": (f"{task}/catch/when", everywhere | {"pet", "index", "err"}),
        ".delay": (f"{task}/catch/do/0/w/wait", everywhere | {"pet", "index", "err"}),
        ".asked": (f"{task}/compensate/if", everywhere | {"pet", "index", "error"}),
        ".undo": (f"{task}/compensate/with/b", everywhere | {"pet", "index", "error", "secrets"}),
    }


def test_every_expression_of_a_document_is_found():
    """One expression in every place that takes one; none may be forgotten."""
    text = r"""
        document: {dsl: 1.0.3, namespace: n, name: d, version: 1.0.0}
        input: {from: .e1}
        output: {as: .e2}
        timeout: {after: '${ .e3 }'}
        do:
        - a:
            if: .e4
            input: {from: {x: '${ .e5 }'}}
            output: {as: .e6}
            export: {as: .e7}
            timeout: {after: '${ .e8 }'}
            call: f
            with: {x: '${ .e9 }'}
            retry:
              when: .e10
              exceptWhen: .e11
              delay: ${ .e12 }
              jitter: {from: '${ .e13 }', to: '${ .e14 }'}
              limit: {duration: '${ .e15 }', attempt: {duration: '${ .e16 }'}}
        - b: {set: '${ .e17 }'}
        - c: {raise: {error: {type: '${ .e18 }', status: '${ .e19 }'}}}
        - d: {emit: {event: {with: {type: '${ .e20 }', source: '${ .e21 }'}}}}
        - e: {run: {workflow: {namespace: n, name: x, input: '${ .e22 }'}}, retry: {when: .e23}}
        - f: {switch: [{x: {when: .e24, then: exit}}]}
        - g: {for: {in: .e25}, while: .e26, do: []}
        - h:
            try: []
            catch: {errors: {with: {type: '${ .e27 }'}}, when: .e28, exceptWhen: .e29, retry: {when: .e30}}
        - i:
            listen:
              to:
                any: [{with: {type: '${ .e31 }'}, correlate: {x: {from: .e32, expect: '${ .e33 }'}}}]
                until: .e34
            foreach: {output: {as: .e35}, export: {as: .e36}}
        - j: {listen: {to: {any: [], until: {one: {with: {type: '${ .e37 }'}}}}}}
        - k: {wait: '${ .e38 }', compensate: {if: .e39, call: g}}
    """
    plan = plan_of(textwrap.dedent(text))
    programs = sorted((expression.program for _, expression, _ in expressions_of(plan)), key=lambda name: int(name[2:]))
    assert programs == [f".e{number}" for number in range(1, 40)]
