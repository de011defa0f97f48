-- Users' projections: which tables there are, and why one stopped where it is. The tables themselves are made when they begin.

CREATE TABLE projections (
    name       text COLLATE "C" NOT NULL,
    version    integer          NOT NULL CHECK (version > 0),
    number     integer          NOT NULL CHECK (number > 0),
    shape      text             NOT NULL,
    state      text             NOT NULL CHECK (state IN ('building', 'live', 'retired')),
    created_at timestamptz      NOT NULL,
    PRIMARY KEY (name, version, number)
);

ALTER TABLE tracking ADD COLUMN failure text;
