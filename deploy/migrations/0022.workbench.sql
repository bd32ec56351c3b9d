-- depends: 0020.risk
-- What whoever moved a limit or a budget was shown before: the replay's counts, kept beside the reason.
ALTER TABLE risk.limit_override ADD COLUMN shown text;
ALTER TABLE risk.decision ADD COLUMN shown text;
-- Decisions of one patient in their order, and of the practice: pages list them, the scorer reads them with every batch.
COMMENT ON COLUMN risk.limit_override.shown IS 'what the replay said of this change when it was saved; NULL: saved without one';
