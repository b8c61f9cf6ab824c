import { useEffect, useState } from "react";

/** Whether somebody can see the element: the page is in front and scrolled to it. */
export function useLooked(element: React.RefObject<Element | null>): boolean {
  const [inView, setInView] = useState(true);
  const [inFront, setInFront] = useState(!document.hidden);
  useEffect(() => {
    const onFront = () => setInFront(!document.hidden);
    document.addEventListener("visibilitychange", onFront);
    const observer = new IntersectionObserver(([entry]) => setInView(entry?.isIntersecting ?? true));
    if (element.current) observer.observe(element.current);
    return () => {
      document.removeEventListener("visibilitychange", onFront);
      observer.disconnect();
    };
  }, [element]);
  return inView && inFront;
}
