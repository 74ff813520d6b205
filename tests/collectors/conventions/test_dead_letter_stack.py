from collectors.conventions.dead_letters import read


def test_a_stack_written_on_one_line_is_read_with_its_line_ends() -> None:
    told = read([("x-exception-stacktrace", "Traceback:\\n  File a.py, line 3\\nValueError: no")], known=True)
    assert told.fields["stack"] == "Traceback:\n  File a.py, line 3\nValueError: no"


def test_a_stack_with_line_ends_of_its_own_is_left_alone() -> None:
    told = read([("x-exception-stacktrace", 'Traceback:\n  print("a\\nb")')], known=True)
    assert told.fields["stack"] == 'Traceback:\n  print("a\\nb")'
