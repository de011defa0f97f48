-- Large values of events and files of participants, beside the log (application/blob_store.py).

-- Without content: it is kept outside, in a folder or an object store. Files are mostly packed already.
CREATE TABLE blobs (
    partition     smallint NOT NULL CHECK (partition >= 0),
    orchestration uuid     NOT NULL,
    digest        bytea    NOT NULL CHECK (octet_length(digest) = 32),
    media_type    text     NOT NULL,
    size          bigint   NOT NULL CHECK (size >= 0),
    loose_since   timestamptz,
    content       bytea,
    PRIMARY KEY (partition, orchestration, digest)
);
ALTER TABLE blobs ALTER COLUMN content SET STORAGE EXTERNAL;
CREATE INDEX blobs_by_digest ON blobs (partition, digest);
CREATE INDEX blobs_loose ON blobs (partition, loose_since) WHERE loose_since IS NOT NULL;
