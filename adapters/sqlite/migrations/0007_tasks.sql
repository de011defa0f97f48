-- Work for remote workers, and what is said of functions.

-- One row for each attempt whose function is not in the process. A token counts while the row is claimed; the deadline
-- starts with the claim. Ended rows stay for a while, so that a report that is repeated gets the same answer.
CREATE TABLE tasks (
    partition     INTEGER         NOT NULL,
    orchestration BLOB             NOT NULL,
    run           TEXT NOT NULL,
    number        INTEGER          NOT NULL CHECK (number > 0),
    function      TEXT NOT NULL,
    definition    TEXT NOT NULL,
    timeout_us    INTEGER           NOT NULL CHECK (timeout_us >= 0),
    queued_at     INTEGER      NOT NULL,
    status        TEXT             NOT NULL CHECK (status IN ('waiting', 'claimed', 'reported', 'ended')),
    token         BLOB,
    worker        TEXT,
    claimed_at    INTEGER,
    lease_until   INTEGER,
    deadline      INTEGER,
    report        BLOB,
    ended_at      INTEGER,
    PRIMARY KEY (partition, orchestration, run, number),
    CHECK (status <> 'claimed' OR (token IS NOT NULL AND lease_until IS NOT NULL AND deadline IS NOT NULL)),
    CHECK (status <> 'reported' OR report IS NOT NULL),
    CHECK ((status = 'ended') = (ended_at IS NOT NULL))
) STRICT;
CREATE INDEX tasks_waiting ON tasks (partition, function, definition, queued_at) WHERE status = 'waiting';
CREATE INDEX tasks_claimed ON tasks (partition, function) WHERE status = 'claimed';
CREATE INDEX tasks_by_lease ON tasks (partition, lease_until) WHERE status = 'claimed';
CREATE INDEX tasks_reported ON tasks (partition, orchestration, run, number) WHERE status = 'reported';
CREATE INDEX tasks_ended ON tasks (partition, ended_at) WHERE status = 'ended';

-- Few rows, the same everywhere: functions that operators have said something about, or that workers have asked for.
CREATE TABLE functions (
    function        TEXT NOT NULL PRIMARY KEY,
    paused          INTEGER          NOT NULL DEFAULT 0,
    draining        INTEGER          NOT NULL DEFAULT 0,
    max_concurrent  INTEGER CHECK (max_concurrent > 0),
    max_per_second  REAL CHECK (max_per_second > 0),
    allowance       REAL           NOT NULL DEFAULT 0,
    allowance_at    INTEGER,
    holders         INTEGER           NOT NULL DEFAULT 0,
    asked_at        INTEGER,
    last_claimed_at INTEGER
) STRICT;
