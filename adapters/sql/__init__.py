"""What both SQL storages share: the ports in terms of named statements; a database supplies statements and threads.

`log.py`, `status.py`, `definitions.py`, `registers.py` and `held.py` implement the ports of `application.storage`
once, over the `Database` protocol of `database.py`. SQLite and PostgreSQL differ in their `queries.sql`, their
migrations, and in how a batch is committed and a partitioned table is read in one order.
"""
