"""The only reader of the environment, one module per program that is configured by it.

`prewarm` is standard library only, because a cache hit in an init container must cost milliseconds; so this
package imports nothing by itself and each program imports its own module.
"""
