rule certify_draws:
    input:
        dictionaries=dataset("dictionaries"),
        digests=digests("dictionaries"),
        plugins=brought(STUDY.plugins),
    output:
        **made("certificates"),
    log:
        logged("certificates"),
    benchmark:
        timed("certificates")
    priority: priority_of("certificates")
    conda:
        "../envs/dcsc.yaml"
    threads: 1
    resources:
        **resources_of("certificates"),
    params:
        **params_of("certificates", PLAN.certificate_settings, plugins=STUDY.plugins),
    script:
        script_of("certificates")
