-- Replies, appended as they come: keys are hashes, so a table in their order is written all over. A canonical request is kept once
-- for the replies to it that come one after another.
CREATE TABLE requests (number INTEGER PRIMARY KEY, request TEXT NOT NULL);
CREATE TABLE replies (
    key TEXT PRIMARY KEY, engine TEXT NOT NULL, request INTEGER NOT NULL REFERENCES requests (number), path INTEGER NOT NULL,
    attempt INTEGER NOT NULL, seed INTEGER NOT NULL, problem TEXT, role TEXT NOT NULL, reply TEXT NOT NULL, at REAL NOT NULL
);

-- What was sent, and what it counts as (read, written, money): what was set aside for it, until its reply says what it took.
-- outcome: NULL under way, 'reply', 'failed', 'refused' (nothing was paid), 'lost' (the process ended before its reply).
-- money NULL: it had no price. requests: how many were sent for it, none where its reply came with another in one answer.
-- Who opens a ledger looks through all of them once, so they need no index.
CREATE TABLE intents (
    number INTEGER PRIMARY KEY, key TEXT NOT NULL, engine TEXT NOT NULL, problem TEXT, role TEXT NOT NULL,
    path INTEGER NOT NULL, attempt INTEGER NOT NULL, at REAL NOT NULL, read INTEGER NOT NULL, written INTEGER NOT NULL,
    money REAL, outcome TEXT, error TEXT, ended REAL, requests INTEGER NOT NULL DEFAULT 1
);

-- Batches, each by the tag that we gave it, with the ids of its file and its own ("" until the server said them), and the requests
-- that those which have not ended hold.
CREATE TABLE batches (
    tag TEXT PRIMARY KEY, engine TEXT NOT NULL, url TEXT NOT NULL, file TEXT NOT NULL, id TEXT NOT NULL, at REAL NOT NULL,
    ended REAL
);
CREATE TABLE batched (
    batch TEXT NOT NULL, key TEXT NOT NULL, line TEXT NOT NULL, request TEXT NOT NULL, path INTEGER NOT NULL,
    attempt INTEGER NOT NULL, problem TEXT, role TEXT NOT NULL, PRIMARY KEY (batch, key)
) WITHOUT ROWID;

-- An engine whose intents with a number above since go out in batches only, so that those in none of them were not sent.
CREATE TABLE collecting (engine TEXT PRIMARY KEY, since INTEGER NOT NULL);

-- What an endpoint was found to do with what it is sent (`engines.remote.probe`): url is the address of engine.
CREATE TABLE capabilities (
    engine TEXT NOT NULL, url TEXT NOT NULL, name TEXT NOT NULL, value TEXT NOT NULL, at REAL NOT NULL,
    PRIMARY KEY (engine, url, name)
) WITHOUT ROWID;
