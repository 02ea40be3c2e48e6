for panel in panels():
    drawing = panel.replace("-", "_")
    read = {stage: read_by(panel, stage) for stage in FILES if stage != "sweeps"}

    rule:
        name:
            f"render_{drawing}"
        input:
            **read,
            beside=of_job(PLAN.tables_beside) if PLAN.needed("beside", panel) else [],
            digests=digests_beside(*read.values()),
            plugins=brought(PLAN.plugins_of(panel)),
        output:
            pdf=f"{RESULTS}/figures/{{experiment}}-{panel}.pdf",
            svg=f"{RESULTS}/figures/{{experiment}}-{panel}.svg",
            png=report(
                f"{RESULTS}/figures/{{experiment}}-{panel}.png",
                caption=f"../report/{PLAN.caption_of(panel)}",
                category=of_job(experiment_title),
                labels={"figure": panel, "kind": "chart"},
            ),
            csv=report(
                f"{RESULTS}/figures/{{experiment}}-{panel}.csv",
                caption=f"../report/{PLAN.caption_of(panel)}",
                category=of_job(experiment_title),
                labels={"figure": panel, "kind": "numbers"},
            ),
            metadata=f"{RESULTS}/figures/{{experiment}}-{panel}.csv-metadata.json",
        log:
            logged(f"render_{drawing}", places=["experiment"]),
        benchmark:
            timed(f"render_{drawing}", places=["experiment"])
        priority: priority_of("figures")
        conda:
            "../envs/dcsc.yaml"
        threads: 1
        resources:
            **resources_of(f"render_{drawing}"),
        params:
            **params_of(
                "render_figure",
                PLAN.figure_settings,
                PLAN.drawing_of(panel),
                PLAN.plugins_of(panel),
            ),
            cascade_of_metrics=of_job(PLAN.cascade_of_chunks),
            drawing=PLAN.drawing_of(panel),
            panel=panel,
            caption=panels()[panel].caption,
        script:
            script_of("render_figure")
