-- Tasks for people that are open: what a list needs to know of each. Rows change in the transaction of the events.

-- `rank` is the priority, negated.
CREATE TABLE human_tasks (
    partition     smallint         NOT NULL,
    orchestration uuid             NOT NULL,
    number        integer          NOT NULL CHECK (number > 0),
    public_id     text COLLATE "C" NOT NULL,
    namespace     text COLLATE "C" NOT NULL,
    name          text COLLATE "C" NOT NULL,
    status        text             NOT NULL CHECK (status IN ('open', 'claimed')),
    assignee      text COLLATE "C",
    rank          integer          NOT NULL,
    due_at        timestamptz,
    created_at    timestamptz      NOT NULL,
    content       bytea            NOT NULL,
    PRIMARY KEY (partition, orchestration, number),
    CHECK ((status = 'claimed') = (assignee IS NOT NULL))
);
CREATE INDEX human_tasks_by_rank ON human_tasks (partition, rank, created_at, public_id, number);
CREATE INDEX human_tasks_by_assignee ON human_tasks (partition, assignee, rank, created_at, public_id, number);

-- Who may take each: "u:name", "g:name", or "*" for everyone. In the order of lists, so that one person's list is one range.
CREATE TABLE human_candidates (
    partition     smallint         NOT NULL,
    orchestration uuid             NOT NULL,
    number        integer          NOT NULL,
    person        text COLLATE "C" NOT NULL,
    rank          integer          NOT NULL,
    created_at    timestamptz      NOT NULL,
    public_id     text COLLATE "C" NOT NULL,
    PRIMARY KEY (partition, orchestration, number, person)
);
CREATE INDEX human_candidates_by_person ON human_candidates (partition, person, rank, created_at, public_id, number);
