"""Who may do what: roles, single-use login links, API tokens, the audit trail."""
