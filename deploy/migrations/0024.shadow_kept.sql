-- depends: 0023.models
-- The shadow's word is kept for as long as anybody compares, and then goes: each batch takes the oldest with it.

CREATE INDEX shadow_by_time ON risk.shadow (effective_at);
GRANT UPDATE, DELETE ON risk.shadow TO lamplight_pipeline;
