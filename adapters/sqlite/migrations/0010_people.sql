-- Tasks for people that are open: what a list needs to know of each. Rows change in the transaction of the events.

-- `rank` is the priority, negated.
CREATE TABLE human_tasks (
    partition     INTEGER NOT NULL,
    orchestration BLOB    NOT NULL,
    number        INTEGER NOT NULL CHECK (number > 0),
    public_id     TEXT    NOT NULL,
    namespace     TEXT    NOT NULL,
    name          TEXT    NOT NULL,
    status        TEXT    NOT NULL CHECK (status IN ('open', 'claimed')),
    assignee      TEXT,
    rank          INTEGER NOT NULL,
    due_at        INTEGER,
    created_at    INTEGER NOT NULL,
    content       BLOB    NOT NULL,
    PRIMARY KEY (partition, orchestration, number),
    CHECK ((status = 'claimed') = (assignee IS NOT NULL))
) STRICT;
CREATE INDEX human_tasks_by_rank ON human_tasks (partition, rank, created_at, public_id, number);
CREATE INDEX human_tasks_by_assignee ON human_tasks (partition, assignee, rank, created_at, public_id, number);

-- Who may take each: "u:name", "g:name", or "*" for everyone. In the order of lists, so that one person's list is one range.
CREATE TABLE human_candidates (
    partition     INTEGER NOT NULL,
    orchestration BLOB    NOT NULL,
    number        INTEGER NOT NULL,
    person        TEXT NOT NULL,
    rank          INTEGER NOT NULL,
    created_at    INTEGER NOT NULL,
    public_id     TEXT NOT NULL,
    PRIMARY KEY (partition, orchestration, number, person)
) STRICT;
CREATE INDEX human_candidates_by_person ON human_candidates (partition, person, rank, created_at, public_id, number);
