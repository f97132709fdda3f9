"""Install and upgrade logic of the CCA TKE catcher package (``csulcca``).

Every entry point (package scriptlets, ``CSUTKEcat``, ``catcherctl``) takes the same steps:
``transition`` -> ``facts.collect`` -> ``plan.plan`` -> ``apply.converge`` -> findings -> exit status.

"Vendor text" in docstrings is the chapter "TKE catcher configuration for a TLS connection" of IBM's manual of CCA.
"""
