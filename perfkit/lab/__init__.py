"""The laboratory: asks a question of the shipping classes and judges the answers.

    scenario → plan → (model | virtual | rounds | confirm) → results → compare → choose

Nothing here is imported by the run-time wing; a test counts the modules.
"""
