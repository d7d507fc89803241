"""Whatever takes bytes from outside, given bytes that nobody would send by mistake.

A file a parser. Each states what holds for every input: it raises nothing but its own errors; what
it keeps is bounded; what it accepts is written back to the same; however the input is cut, the
result is the same; and where there is another program or a simple model for it, both agree.

In the suite each property is tried some dozens of times. `make fuzz` tries until a time is over:

    python -m tests.fuzz --seconds 600                 all of them, in turns
    python -m tests.fuzz --seconds 60 http_head codecs  these
"""
