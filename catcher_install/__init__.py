"""Install and upgrade logic of the CCA TKE catcher package (``csulcca``).

Every entry point (package scriptlets, ``CSUTKEcat``, ``catcherctl``) walks one way:
``transition`` -> ``facts.collect`` -> ``plan.plan`` -> ``apply.apply`` -> findings -> exit status.
"""
