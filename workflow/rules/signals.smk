rule sample_signals:
    input:
        dictionaries=f"{RESULTS}/dictionaries/{{cascade}}.nc",
        sweep=sweep_file,
        digests=drawing_digests,
        plugins=STUDY.plugins,
    output:
        signals=kept(
            "signals", f"{RESULTS}/{{experiment}}/signals/{{cascade}}/{{chunk}}.nc"
        ),
        digest=kept(
            "signals",
            f"{RESULTS}/{{experiment}}/signals/{{cascade}}/{{chunk}}.nc.sha256",
        ),
    log:
        f"logs/{RESULTS}/sample_signals/{{experiment}}/{{cascade}}/{{chunk}}.log",
    benchmark:
        f"logs/{RESULTS}/sample_signals/{{experiment}}/{{cascade}}/{{chunk}}.tsv"
    conda:
        "../envs/dcsc.yaml"
    threads: 1
    resources:
        mem_mb=memory("sample_signals"),
        runtime=minutes("sample_signals"),
    params:
        settings=signal_settings,
        library=library("sample_signals.py", plugins=STUDY.plugins),
        modules=modules("sample_signals.py", plugins=STUDY.plugins),
        results=results_folder,
    script:
        "../../scripts/sample_signals.py"
