"""``call: sql``: one transaction on a database that the operator has named.

Reading order: ``callouts`` (from the task's ``with`` to an outcome) -> ``transaction`` (one attempt on a thread, and how far
it came) -> ``ledger`` (the table that makes an execute exactly-once) -> ``text`` (placeholders) and ``values`` (JSON).
``targets`` reads the connections from the environment, ``pool`` keeps them, ``drivers`` is what the databases have in common,
``postgres``, ``sqlite`` and ``mysql`` are each of them.
"""
