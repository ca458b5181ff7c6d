-- +goose Up
-- Which events a subscriber's version reads. Two programs that disagree about that must not share its checkpoint: one would
-- move it past events that the other waits for.
ALTER TABLE annals.subscribers ADD COLUMN wants text[]; -- event types; {*}: every one; null: not written down yet

-- +goose Down
ALTER TABLE annals.subscribers DROP COLUMN wants;
