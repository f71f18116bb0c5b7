-- What `Status` says of the whole ledger, under its names.
SELECT
    (SELECT count(*) FROM replies) AS replies,
    count(*) AS asked,
    coalesce(sum(requests) FILTER (WHERE outcome IS NOT NULL), 0) AS requests,
    count(*) FILTER (WHERE outcome = 'reply') AS received,
    count(*) FILTER (WHERE outcome = 'failed') AS failed,
    count(*) FILTER (WHERE outcome = 'refused') AS refused,
    count(*) FILTER (WHERE outcome = 'lost') AS lost,
    count(*) FILTER (WHERE outcome IS NULL) AS in_flight,
    coalesce(sum(read), 0) AS read,
    coalesce(sum(written), 0) AS written,
    total(money) AS money
FROM intents
