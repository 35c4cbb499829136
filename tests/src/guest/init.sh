#!/bin/sh
# The guest's first program: brings each card up, asks for an address, and tells on the console what it has.
export PATH=/bin
mount -t proc proc /proc
mount -t sysfs sys /sys
mount -t devtmpfs dev /dev
while read -r module; do insmod "/modules/$module.ko"; done < /modules/order
echo "GUEST up $(cut -d' ' -f1 /proc/uptime)"
ip link set lo up
acpid -l /dev/null

# Each fact once, and again when it has changed. Facts of a card but the first have its name in front.
tell() {
  eval "old=\$told_$1"
  test "$old" = "$2" && return
  eval "told_$1=\$2"
  echo "GUEST $1 $2"
}
list() { tr '\n' ',' | tr -s ' ' | awk '{ sub(/,$/, ""); print }'; }
cards=
while :; do
  for path in /sys/class/net/eth*; do
    card=${path##*/}
    case " $cards " in *" $card "*) continue ;; esac
    test -e "$path" || continue
    cards="$cards $card"
    ip link set "$card" up
    udhcpc -f -i "$card" -t 20 -T 2 -O search -O staticroutes -O mtu -s /bin/lease > /dev/null 2>&1 &
  done
  for card in $cards; do
    own=
    test "$card" = eth0 || own=${card}_
    tell "${own}address4" "$(ip -4 -o addr show dev "$card" | awk '{ print $4 }' | list)"
    tell "${own}address6" "$(ip -6 -o addr show dev "$card" scope global | awk '!/tentative/ { print $4 }' | list)"
    tell "${own}router4" "$(ip -4 route show default dev "$card" | awk '{ print $3 }' | list)"
    tell "${own}router6" "$(ip -6 route show default dev "$card" | awk '{ print $3 }' | list)"
    tell "${own}mtu" "$(cat "/sys/class/net/$card/mtu")"
  done
  tell hostname "$(hostname)"
  test -e /etc/resolv.conf && tell resolver "$(cat /etc/resolv.conf | list)"
  sleep 0.2
done
