"""The dream as a place: a page in the browser, `python -m envs.dream`.

The page connects to a server on loopback. Each tab gets a real episode and a dream of its own (envs/side_by_side.py),
says what it wants (wishes.py), and shows what it is sent (session.py, static/). The command stands here and not in
`envs`, since it loads what earlier stages left behind.
"""
