using Kms.Client.Protocol;
using Kmsd.Access;
using Kmsd.History;

namespace Kmsd.Keys;

/// <summary>What requests for a history have in common, checked.</summary>
internal static class HistoryRequests
{
    private const int DefaultPage = 100;

    /// <exception cref="KmsException"><c>invalidParams</c></exception>
    public static HistoryQuery Read((HistorySubject Kind, object Id) subject, int? limit, long? before, string? operation, string? principal) =>
        new(subject.Kind, subject.Id, CheckLimit(limit, DefaultPage))
        {
            Before = before ?? long.MaxValue,
            Operation = operation,
            Principal = principal is null ? null : Principal.ParseForSearch(principal).ToString(),
        };

    /// <exception cref="KmsException"><c>invalidParams</c></exception>
    public static int CheckLimit(int? limit, int byDefault) => (limit ?? byDefault) is int checkedLimit and >= 1 and <= Limits.HistoryPage
        ? checkedLimit
        : throw new KmsException(KmsErrorCode.InvalidParams, $"A page has 1 to {Limits.HistoryPage} entries.");
}
