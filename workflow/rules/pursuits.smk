rule run_pursuits:
    input:
        signals=dataset("signals"),
        dictionaries=dataset("dictionaries"),
        digests=digests("signals", "dictionaries"),
        plugins=brought(STUDY.plugins),
    output:
        **made("pursuits"),
    log:
        logged("pursuits"),
    benchmark:
        timed("pursuits")
    priority: priority_of("pursuits")
    conda:
        "../envs/dcsc.yaml"
    threads: 1
    resources:
        **resources_of("pursuits"),
    params:
        **params_of("pursuits", PLAN.pursuit_settings, plugins=STUDY.plugins),
    script:
        script_of("pursuits")
