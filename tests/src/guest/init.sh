#!/bin/sh
# The guest's first program: brings the card up, asks for an address, and tells on the console what it has.
export PATH=/bin
mount -t proc proc /proc
mount -t sysfs sys /sys
mount -t devtmpfs dev /dev
while read -r module; do insmod "/modules/$module.ko"; done < /modules/order
echo "GUEST up $(cut -d' ' -f1 /proc/uptime)"
ip link set lo up
test -e /sys/class/net/eth0 || { while :; do sleep 60; done; }
ip link set eth0 up
udhcpc -f -i eth0 -t 20 -T 2 -O search -O staticroutes -O mtu -s /bin/lease > /dev/null 2>&1 &

# Each fact once, and again when it has changed.
tell() {
  eval "old=\$told_$1"
  test "$old" = "$2" && return
  eval "told_$1=\$2"
  echo "GUEST $1 $2"
}
list() { tr '\n' ',' | tr -s ' ' | awk '{ sub(/,$/, ""); print }'; }
while :; do
  tell address4 "$(ip -4 -o addr show dev eth0 | awk '{ print $4 }' | list)"
  tell address6 "$(ip -6 -o addr show dev eth0 scope global | awk '!/tentative/ { print $4 }' | list)"
  tell router4 "$(ip -4 route show default | awk '{ print $3 }' | list)"
  tell router6 "$(ip -6 route show default | awk '{ print $3 }' | list)"
  tell mtu "$(cat /sys/class/net/eth0/mtu)"
  tell hostname "$(hostname)"
  test -e /etc/resolv.conf && tell resolver "$(cat /etc/resolv.conf | list)"
  sleep 0.2
done
