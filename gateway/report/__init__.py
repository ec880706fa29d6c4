"""Two captures of requests beside each other, as a page.

By the measures and tests of the gateway's alarms. Evidently 0.7 has others, and cannot be imported beside pandas 3.
"""
