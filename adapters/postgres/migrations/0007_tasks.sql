-- Work for remote workers, and what is said of functions.

-- One row for each attempt whose function is not in the process. A token counts while the row is claimed; the deadline
-- starts with the claim. Ended rows stay for a while, so that a report that is repeated gets the same answer.
CREATE TABLE tasks (
    partition     smallint         NOT NULL,
    orchestration uuid             NOT NULL,
    run           text COLLATE "C" NOT NULL,
    number        integer          NOT NULL CHECK (number > 0),
    function      text COLLATE "C" NOT NULL,
    definition    text COLLATE "C" NOT NULL,
    timeout_us    bigint           NOT NULL CHECK (timeout_us >= 0),
    queued_at     timestamptz      NOT NULL,
    status        text             NOT NULL CHECK (status IN ('waiting', 'claimed', 'reported', 'ended')),
    token         bytea,
    worker        text,
    claimed_at    timestamptz,
    lease_until   timestamptz,
    deadline      timestamptz,
    report        bytea,
    ended_at      timestamptz,
    PRIMARY KEY (partition, orchestration, run, number),
    CHECK (status <> 'claimed' OR (token IS NOT NULL AND lease_until IS NOT NULL AND deadline IS NOT NULL)),
    CHECK (status <> 'reported' OR report IS NOT NULL),
    CHECK ((status = 'ended') = (ended_at IS NOT NULL))
);
CREATE INDEX tasks_waiting ON tasks (partition, function, definition, queued_at) WHERE status = 'waiting';
CREATE INDEX tasks_claimed ON tasks (partition, function) WHERE status = 'claimed';
CREATE INDEX tasks_by_lease ON tasks (partition, lease_until) WHERE status = 'claimed';
CREATE INDEX tasks_reported ON tasks (partition, orchestration, run, number) WHERE status = 'reported';
CREATE INDEX tasks_ended ON tasks (partition, ended_at) WHERE status = 'ended';

-- Few rows, the same everywhere: functions that operators have said something about, or that workers have asked for.
CREATE TABLE functions (
    function        text COLLATE "C" NOT NULL PRIMARY KEY,
    paused          boolean          NOT NULL DEFAULT false,
    draining        boolean          NOT NULL DEFAULT false,
    max_concurrent  integer CHECK (max_concurrent > 0),
    max_per_second  float8 CHECK (max_per_second > 0),
    allowance       float8           NOT NULL DEFAULT 0,
    allowance_at    timestamptz,
    holders         bigint           NOT NULL DEFAULT 0,
    asked_at        timestamptz,
    last_claimed_at timestamptz
);
