-- depends: 0038.calls
-- `lamplight demo seed` gives the demo an on-call rota and a chain.

GRANT INSERT ON alerts.rung, alerts.shift TO lamplight_pipeline;
