"""A stand-in for the national API that counts what it accepts and misbehaves on demand.

It is written only from the API's field tables and shares no code with the client it tests.
"""
