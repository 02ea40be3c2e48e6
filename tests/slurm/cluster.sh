#!/usr/bin/env bash
# A Slurm of four virtual nodes on the loopback device, for the tests: cluster.sh vacant|check|start|stop FOLDER
# Every process is its own and is stopped by the id that it wrote down; a machine that already has a Slurm is left alone.
set -euo pipefail
NODES=4
CONFIGURATION=/etc/slurm/slurm.conf
MARK="# written by the tests of dcsc"

fail() {
    echo "error: $*" >&2
    exit 1
}

vacant() {
    [[ $(id -u) == 0 ]] || fail "a Slurm of the test's own needs root: run it in a container."
    if [[ -e $CONFIGURATION ]] && [[ $(head -n 1 "$CONFIGURATION") != "$MARK" ]]; then
        fail "this machine has a Slurm of its own ($CONFIGURATION): run the test on another one."
    fi
    if [[ -n ${SLURM_CONF:-} ]]; then
        fail "this machine has a Slurm of its own (SLURM_CONF=$SLURM_CONF): run the test on another one."
    fi
    if [[ -e $CONFIGURATION ]] && scontrol ping 2>/dev/null | grep -q UP; then
        fail "the Slurm of an earlier test is still running:" \
            "'tests/slurm/cluster.sh stop $(sed -n 's,^StateSaveLocation=\(.*\)/state$,\1,p' "$CONFIGURATION")' stops it."
    fi
}

check() {
    local tool missing=()
    vacant
    for tool in slurmctld slurmd sbatch munged; do
        PATH=$PATH:/usr/sbin:/sbin command -v "$tool" >/dev/null || missing+=("$tool")
    done
    if ((${#missing[@]})); then
        fail "${missing[*]} not found: install them, on Debian with" \
            "'apt-get install --no-install-recommends slurmctld slurmd slurm-client munge'."
    fi
}

configure() {
    local folder=$1 host
    host=$(hostname -s)
    mkdir -p "$folder"/{state,spool,log} "$(dirname "$CONFIGURATION")"
    cat >"$CONFIGURATION" <<CONFIGURATION
$MARK
ClusterName=test
SlurmctldHost=$host(127.0.0.1)
SlurmctldPort=16817
SlurmUser=root
SlurmdUser=root
AuthType=auth/munge
AuthInfo=socket=$folder/munge.socket
CommunicationParameters=NoInAddrAny,NoCtldInAddrAny
SlurmctldPidFile=$folder/slurmctld.pid
SlurmctldLogFile=$folder/log/slurmctld.log
SlurmdPidFile=$folder/slurmd-%n.pid
SlurmdLogFile=$folder/log/slurmd-%n.log
SlurmdSpoolDir=$folder/spool/%n
StateSaveLocation=$folder/state
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
JobAcctGatherType=jobacct_gather/none
AccountingStorageType=accounting_storage/none
JobCompType=jobcomp/filetxt
JobCompLoc=$folder/log/jobs.txt
SelectType=select/cons_tres
SelectTypeParameters=CR_CPU_Memory
SchedulerParameters=batch_sched_delay=0,sched_interval=2,bf_interval=2
SlurmdParameters=config_overrides
ReturnToService=2
MinJobAge=600
KillWait=2
NodeName=n[1-$NODES] NodeHostname=$host NodeAddr=127.0.0.1 Port=[17001-$((17000 + NODES))] CPUs=2 RealMemory=8000
PartitionName=main Nodes=ALL Default=YES MaxTime=2-00:00:00 DefMemPerCPU=500 State=UP
CONFIGURATION
}

start() {
    local folder=$1 node
    check
    configure "$folder"
    export PATH=$PATH:/usr/sbin:/sbin
    (umask 077 && head -c 128 /dev/urandom >"$folder/munge.key")
    # A munged of the test's own: one that the machine may have is not touched.
    munged --force --key-file="$folder/munge.key" --socket="$folder/munge.socket" --pid-file="$folder/munged.pid" \
        --log-file="$folder/log/munged.log" --seed-file="$folder/munged.seed" 2>/dev/null
    slurmctld -c
    for ((node = 1; node <= NODES; node++)); do slurmd -N "n$node"; done
    for ((waited = 0; waited < 300; waited++)); do
        [[ $(sinfo --noheader --responding --states=idle --format=%D 2>/dev/null) == "$NODES" ]] && return
        sleep 0.1
    done
    tail -n 5 "$folder"/log/*.log >&2
    fail "the nodes did not come up in 30 seconds."
}

stop() {
    local folder=$1 file id
    # Nodes before the controller, the authentication last.
    for file in "$folder"/slurmd-*.pid "$folder"/slurmctld.pid "$folder"/munged.pid; do
        [[ -s $file ]] || continue
        id=$(<"$file")
        kill "$id" 2>/dev/null || continue
        for ((waited = 0; waited < 100; waited++)); do
            kill -0 "$id" 2>/dev/null || break
            sleep 0.1
        done
        if kill -0 "$id" 2>/dev/null; then kill -9 "$id" || true; fi
    done
    if [[ -e $CONFIGURATION ]] && [[ $(head -n 1 "$CONFIGURATION") == "$MARK" ]]; then rm -f "$CONFIGURATION"; fi
}

case ${1:-} in
vacant | check) "$1" ;;
start | stop) "$1" "${2:?a folder for what the daemons write}" ;;
*) fail "say vacant, check, start FOLDER or stop FOLDER." ;;
esac
